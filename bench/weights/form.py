"""Tells whether a file is a whole file of weights, from its outline alone: it runs nothing and needs no torch.

A download is looked at in this way before it enters the cache, and every file before it is read: a file that claims to
hold more than it has would fill the memory.
"""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path
from typing import BinaryIO

from bench.weights.inert import FormError, Storage, check_opcodes, storages_of

LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""``torch.serialization.MAGIC_NUMBER``, which stands first in a file that torch wrote before 1.6."""

LONGEST_HEADER = 100_000_000
"""Bytes of the longest header that the format safetensors allows."""

HEAD_BYTES = 512

MOST_COMPRESSED = 64_000_000
"""Bytes that the compressed records of a zip archive may claim together."""


def read_head(path: Path) -> bytes:
    """Give the first bytes of a file of weights, at most :data:`HEAD_BYTES`.

    Raises:
        FormError: the file is empty, or no regular file: a pipe or a device may never end.
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FormError("not a regular file")
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise FormError("the file is empty")
    return head


def begins_like_safetensors(head: bytes) -> bool:
    """Say whether the length of a header (eight bytes) and a JSON object stand first."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER


def is_torch(head: bytes) -> bool:
    """Say whether a file begins like one of ``torch.save``, in either format."""
    return head.startswith(b"PK") or LEGACY_MAGIC in head[:32]


def looks_like(head: bytes) -> str:
    """Give in words what a file that is no weights seems to be."""
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page: the address leads to a page about the file, not to the file"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: run git lfs pull"
    return "a text file" if head.isascii() else "an unknown binary format"


def check_form(path: Path, head: bytes) -> None:
    """Check that a file is whole, and holds all the bytes that its tables claim.

    Raises:
        FormError: it is not, or it is no file of weights at all.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        if begins_like_safetensors(head):
            _check_safetensors(file, size)
        elif head.startswith(b"PK"):
            _check_zip(file, size)
        elif LEGACY_MAGIC in head[:32]:
            _check_legacy(file, size)
        elif head.startswith(b"\x80"):
            check_opcodes(file, size)
        else:
            raise FormError(looks_like(head))


def _check_safetensors(file: BinaryIO, size: int) -> None:
    """Check that the file ends where the last tensor does; the library checks each of them when it reads."""
    length = int.from_bytes(file.read(8), "little")
    if 8 + length > size:
        raise FormError(f"a header of {length} bytes in a file of {size}")
    try:
        header = json.loads(file.read(length))
        ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise FormError(f"a damaged header of safetensors: {type(error).__name__}") from error
    whole = 8 + length + max(ends, default=0)
    if whole != size:
        raise FormError(f"its tensors end at byte {whole}, the file has {size}")


def _check_zip(file: BinaryIO, size: int) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _check_entries(entries, size)
            pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
            for entry in pickles:
                _check_records(archive, entry, size)
    except FormError:
        raise
    except Exception as error:
        if not zipfile.is_zipfile(file):
            raise FormError("a zip archive without its end") from error
        raise FormError(f"a damaged zip archive: {' '.join(str(error).split())[:100]}") from error
    if not pickles:
        raise FormError("a zip archive that torch.save did not write")


def _check_entries(entries: list[zipfile.ZipInfo], size: int) -> None:
    """torch stores its records as they are, so all of them together are no larger than the file.

    Only the source code in a file of ``torch.jit.save`` is compressed.
    """
    stored = sum(entry.file_size for entry in entries if entry.compress_type == zipfile.ZIP_STORED)
    compressed = sum(entry.file_size for entry in entries if entry.compress_type != zipfile.ZIP_STORED)
    if stored > size:
        raise FormError(f"its records claim {stored} bytes, the file has {size}")
    if compressed > MOST_COMPRESSED:
        raise FormError(f"its compressed records claim {compressed} bytes, and torch.save compresses none")


def _check_records(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: int) -> None:
    """Check that each storage that the pickle names has a record with all its bytes."""
    with archive.open(entry) as file:
        check_opcodes(file, size)  # type: ignore[arg-type]
    with archive.open(entry) as file:
        storages, _ = storages_of(file)  # type: ignore[arg-type]
    sizes = {other.filename: other.file_size for other in archive.infolist()}
    folder = entry.filename.removesuffix("data.pkl")
    for storage in storages:
        held = sizes.get(f"{folder}data/{storage.key}")
        if held is not None and held < storage.claimed_bytes:
            raise FormError(f"its storage {storage.key[:60]!r} claims {storage.claimed_bytes} bytes and has {held}")


def _check_legacy(file: BinaryIO, size: int) -> None:
    """Check the five pickles (magic number, protocol, system, weights, keys) and the storages behind them."""
    storages: dict[str, Storage] = {}
    keys: object = None
    for _ in range(5):
        start = file.tell()
        check_opcodes(file, size)
        file.seek(start)
        found, keys = storages_of(file)
        storages |= {storage.key: storage for storage in found}
    if not isinstance(keys, list):
        raise FormError("it has no list of its storages")
    # Each storage has its number of elements in eight bytes before it.
    needed = file.tell() + sum(8 + storages[str(key)].claimed_bytes for key in keys if str(key) in storages)
    if needed > size:
        raise FormError(f"its storages claim {needed} bytes, the file has {size}")
