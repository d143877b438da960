"""Files of weights that claim what they do not hold: one line, no code run, no memory or time spent on the claim."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import resource
import struct
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from bench.errors import UserError
from bench.weights.load import load_checkpoint

STATE = {"a.weight": torch.arange(6.0), "a.bias": torch.ones(3).half()}
TERA = 10**12


def refused(path: Path, *words: str) -> str:
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    for word in words:
        assert word in message
    return message


def of_torch(data: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(data, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def rezipped(content: bytes, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The same archive with the records that ``change`` gives."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return buffer.getvalue()


def with_claim(content: bytes, claimed: int) -> bytes:
    """The archive whose directory claims a size, in 64 bits, for its first storage."""
    at = content.index(b"PK\1\2", content.index(b"PK\1\2"))
    while b"data/0" not in content[at : at + 80]:
        at = content.index(b"PK\1\2", at + 4)
    sizes = struct.pack("<II", min(claimed, 2**32 - 2), min(claimed, 2**32 - 2))
    return content[: at + 20] + sizes + content[at + 28 :]


def pickled_int(value: int) -> bytes:
    return pickle.dumps(value, protocol=2)[2:-1]


def zip_of(program: bytes) -> bytes:
    """An archive of torch.save whose pickle is this program, with one storage of 24 bytes."""
    return rezipped(of_torch(STATE), lambda name, old: program if name.endswith("data.pkl") else old)


def test_a_record_that_claims_more_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(with_claim(of_torch(STATE), TERA))
    refused(path, "records claim", "truncated, damaged")


def test_a_storage_that_claims_more_than_its_record(tmp_path: Path) -> None:
    """Nothing in torch compares the two: it would read memory behind the record."""
    path = tmp_path / "w.pth"
    content = of_torch({"a.weight": torch.zeros(6)})
    path.write_bytes(
        rezipped(content, lambda name, old: old.replace(b"K\6tq", b"M\xff\xfftq") if name.endswith("data.pkl") else old)
    )
    refused(path, "claims 262140 bytes and has 24")


def test_a_record_of_zeros_that_is_small_on_disk(tmp_path: Path) -> None:
    """Two gigabytes of zeros are two megabytes as a compressed record."""
    path = tmp_path / "w.pth"
    content = of_torch({"a.weight": torch.zeros(6)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new, zipfile.ZipFile(io.BytesIO(content)) as old:
        for entry in old.infolist():
            new.writestr(entry.filename, bytes(70_000_000) if "data/0" in entry.filename else old.read(entry))
    assert path.stat().st_size < 100_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, "compressed records claim 70000")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize("zipped", [True, False])
def test_a_tensor_with_more_elements_than_the_file_has_bytes(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(of_torch({"a": torch.zeros(1).expand(10**6, 10**6)}, zipped))
    refused(path, f"claim {4 * TERA} bytes", "model.allow_pickle=true")
    path.write_bytes(of_torch({"a": torch.ones(1).expand(4, 4)}, zipped))  # a small one is nothing to refuse
    assert load_checkpoint(path).state_dict["a"].sum() == 16


@pytest.mark.parametrize(
    "tensor",
    [
        torch.empty(10**6, 10**6, device="meta"),
        torch.sparse_coo_tensor(torch.empty(2, 0, dtype=torch.int64), torch.empty(0), (10**6, 10**6)),
    ],
    ids=["meta", "sparse"],
)
def test_a_tensor_without_plain_values(tmp_path: Path, tensor: torch.Tensor) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(of_torch({"a": tensor}))
    refused(path)


def test_a_pickle_that_allocates(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(zip_of(b"\x80\x02c__builtin__\nbytearray\n" + pickled_int(2 * 10**9) + b"\x85R."))
    refused(path, "__builtin__ bytearray")
    path.write_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")  # a reader would make a list of 2^31 places
    refused(path, "places in memory")
    path.write_bytes(b"\x80\x02}X\x01\0\0\0acnumpy\nndarray\n" + pickled_int(TERA) + b"\x85Rs.")
    refused(path)


def test_metadata_nested_without_end(tmp_path: Path) -> None:
    deep = "[" * 100_000
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(STATE, path, metadata={"classes": deep})
    refused(path, "classes is not a JSON list")
    header = ('{"__metadata__":' + '{"a":' * 100_000).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    refused(path, "not a whole safetensors file")
    path = tmp_path / "w.pth"
    # torch.save itself would stop at tuples nested so deep, so their pickle is written by hand.
    program = b"\x80\x02}(X\x04\0\0\0meta" + b")" + b"\x85" * 100_000 + b"X\x05\0\0\0modelN" + b"u."
    path.write_bytes(zip_of(program))
    refused(path)
    path.write_bytes(b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.")  # a key: to look it up, all of it is hashed
    refused(path)


@pytest.mark.parametrize("length", [TERA, 2**64 - 1, 99_999_999])
@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_a_safetensors_header_that_claims_more_than_the_file(tmp_path: Path, length: int, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(
        length.to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}' + bytes(4)
    )
    refused(path)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """Each of them would be waited for, or read, without end."""
    pipe = tmp_path / "w.pth"
    os.mkfifo(pipe)
    writer = threading.Timer(20, lambda: os.open(pipe, os.O_RDWR))  # else a failing test would never end
    writer.daemon = True
    writer.start()
    try:
        for path in (pipe, tmp_path, Path("/dev/zero")):
            refused(path, "not a regular file")
    finally:
        writer.cancel()


def test_source_code_beside_the_weights_is_no_bomb(tmp_path: Path) -> None:
    """torch.jit.save compresses the code that it writes, and only that; such a file is no damaged one."""
    path = tmp_path / "w.pth"
    content = of_torch(STATE)
    with zipfile.ZipFile(path, "w") as new, zipfile.ZipFile(io.BytesIO(content)) as old:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        new.writestr("archive/code/net.py", "def forward(self): pass\n" * 10_000, zipfile.ZIP_DEFLATED)
    assert sorted(load_checkpoint(path).state_dict) == sorted(STATE)


FORMS = {
    "zip": of_torch({"state_dict": STATE, "meta": {"CLASSES": ("cat", "dog"), "epoch": 3}}),
    "legacy": of_torch({"model": STATE, "epoch": 3}, zipped=False),
    "plain": pickle.dumps({"model": {"a": np.arange(6.0), "b": np.ones(3)}, "__author__": "x"}, protocol=2),
    "safetensors": safetensors.torch.save(STATE, {"classes": json.dumps(["cat"])}),
}
INTERESTING = (
    b"\0",
    b"\xff",
    b"\x80",
    b".",
    b"R",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"PK\1\2",
    b"]" * 9,
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", FORMS)
def test_damage_of_every_kind_is_one_line(tmp_path: Path, form: str) -> None:
    """400 files of each form, each with some bytes overwritten, put in or left out: read, or refused in one line."""
    draw = random.Random(f"maskbench {form}")
    path, read, messages = tmp_path / "w.bin", 0, []
    for _ in range(400):
        content = bytearray(FORMS[form])
        for _ in range(draw.choice((1, 1, 2, 8))):
            at, piece = draw.randrange(len(content)), draw.choice(INTERESTING)
            end = at + draw.choice((0, len(piece), draw.randrange(64)))
            content[at:end] = piece if draw.random() < 0.7 else b""
        path.write_bytes(content)
        try:
            load_checkpoint(path)
            read += 1
        except UserError as error:
            messages.append(str(error))
    assert read
    assert messages
    assert all(str(path) in message and len(message) < 700 for message in messages)
