"""Checkpoints as the libraries write them, and files that only claim to be checkpoints."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from bench.errors import UserError
from bench.weights.load import load_checkpoint


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 2))


STATE = network().state_dict()


def assert_same(found: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(STATE)
    for name, tensor in STATE.items():
        assert found[name].device.type == "cpu"
        assert not found[name].requires_grad
        assert torch.equal(found[name], tensor)


class Attack:
    """Pickles to a call that creates a file: the stand-in for code that a stranger puts into a checkpoint."""

    def __init__(self, target: Path, how: str) -> None:
        self.target, self.how = target, how

    def __reduce__(self) -> tuple[Any, ...]:
        if self.how == "system":
            return os.system, (f"touch {self.target}",)
        if self.how == "eval":
            return eval, (f"open({str(self.target)!r}, 'w')",)
        return open, (str(self.target), "w")


@pytest.mark.parametrize("how", ["system", "eval", "open"])
@pytest.mark.parametrize("form", ["zip", "legacy", "plain"])
def test_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path, form: str, how: str) -> None:
    target = tmp_path / "was_run"
    data = {"state_dict": dict(STATE), "meta": {"x": Attack(target, how)}}
    path = tmp_path / "model.pth"
    if form == "plain":
        path.write_bytes(pickle.dumps({"model": {}, "x": Attack(target, how)}, protocol=2))
    else:
        torch.save(data, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UserError, match=r"model\.allow_pickle=true") as caught:
        load_checkpoint(path)
    assert how in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    # The switch does what it says: otherwise the test above could not fail.
    if how == "system":
        try:
            load_checkpoint(path, allow_pickle=True)
        except UserError:
            assert form == "plain"
        assert target.exists()


def test_inert_getattr_reaches_nothing(tmp_path: Path) -> None:
    """getattr is let through as a dead object: an attack that builds on it ends there."""
    target = tmp_path / "was_run"
    program = (
        b"\x80\x02}X\x01\x00\x00\x00x"
        b"c__builtin__\ngetattr\n(cnumpy\nndarray\nX\x07\x00\x00\x00tofile_tR"
        + b"X%c\x00\x00\x00%s\x85R" % (len(str(target)), str(target).encode())
        + b"s."
    )
    buffer = io.BytesIO()
    torch.save({}, buffer)
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            new.writestr(item, program if item.filename.endswith("data.pkl") else old.read(item))
    with pytest.raises(UserError):
        load_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s},
        lambda s: {"model": s, "optimizer": {"state": {}}, "epoch": 3, "args": argparse.Namespace(lr=0.02)},
        lambda s: OrderedDict((f"module.{k}", v) for k, v in s.items()),
        lambda s: {"state_dict": {k: torch.nn.Parameter(v, False) for k, v in s.items()}},
        lambda s: {"model": {k: v.numpy() for k, v in s.items()}},
    ],
    ids=["pure", "mmdet", "torchvision_training", "data_parallel", "parameters", "numpy"],
)
def test_torch_wrappers(tmp_path: Path, wrap: Callable[[Any], Any], zipped: bool, request: Any) -> None:
    path = tmp_path / "model.pth"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=zipped)
    if "numpy" in request.node.callspec.id:
        with pytest.raises(UserError, match="not a tensor"):
            load_checkpoint(path)
        assert_same(load_checkpoint(path, allow_pickle=True).state_dict)
        return
    checkpoint = load_checkpoint(path)
    assert_same(checkpoint.state_dict)
    assert checkpoint.classes is None
    assert checkpoint.path == str(path)


def test_partial_module_prefix_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, path)
    assert list(load_checkpoint(path).state_dict) == ["module.a", "b"]


def test_whole_module_needs_the_switch(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"model": network()}, path)
    with pytest.raises(UserError, match=r"torch\.nn\.modules\.container\.Sequential.*allow_pickle"):
        load_checkpoint(path)
    assert_same(load_checkpoint(path, allow_pickle=True).state_dict)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ({1: "dog", 0: "cat"}, ("cat", "dog")),
        (["cat", "dog"], ("cat", "dog")),
        ({1: "cat", 2: "dog"}, None),
        (7, None),
    ],
    ids=["by label", "list", "gap", "a number"],
)
def test_class_names_that_a_whole_module_carries(
    tmp_path: Path, names: object, classes: tuple[str, ...] | None
) -> None:
    """ultralytics saves ``names``, by label, with its networks."""
    module = network()
    vars(module)["names"] = names
    torch.save({"model": module, "ema": None}, tmp_path / "model.pt")
    checkpoint = load_checkpoint(tmp_path / "model.pt", allow_pickle=True)
    assert_same(checkpoint.state_dict)
    assert checkpoint.classes == classes


def test_the_mean_of_the_last_steps_is_taken_where_a_whole_module_has_one(tmp_path: Path) -> None:
    """``ema`` beside ``model`` in a training's file of ultralytics (``ckpt.get("ema") or ckpt["model"]``)."""
    last = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    torch.save({"model": last, "ema": network()}, tmp_path / "last.pt")
    assert_same(load_checkpoint(tmp_path / "last.pt", allow_pickle=True).state_dict)
    # Elsewhere ``ema`` holds other things, and the weights stand under ``model``.
    torch.save({"model": dict(STATE), "ema": {"module": {"other": torch.zeros(1)}}}, tmp_path / "other.pt")
    assert_same(load_checkpoint(tmp_path / "other.pt").state_dict)


@pytest.mark.parametrize(
    ("meta", "classes"),
    [
        ({"CLASSES": ("cat", "dog"), "mmdet_version": "2.25.0"}, ("cat", "dog")),
        ({"dataset_meta": {"CLASSES": ("cat", "dog"), "PALETTE": [(1, 2, 3)]}, "epoch": 12}, ("cat", "dog")),
        ({"dataset_meta": {"classes": ["cat", "dog"]}}, ("cat", "dog")),
        ({"CLASSES": "balloon"}, ("balloon",)),
        ({"CLASSES": None}, None),
        ({}, None),
    ],
)
def test_mmdet_classes(tmp_path: Path, meta: dict[str, Any], classes: tuple[str, ...] | None) -> None:
    path = tmp_path / "model.pth"
    torch.save({"meta": meta, "state_dict": STATE}, path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.classes == classes
    assert_same(checkpoint.state_dict)
    assert {k: v for k, v in checkpoint.metadata.items() if k in ("mmdet_version", "epoch")} == {
        k: v for k, v in meta.items() if k in ("mmdet_version", "epoch")
    }


def mmengine_checkpoint(history_buffer: Any) -> dict[str, Any]:
    """The keys of a checkpoint that mmengine's CheckpointHook writes."""
    return {
        "meta": {"epoch": 12, "iter": 87960, "dataset_meta": {"classes": ("cat", "dog")}, "cfg": "model = dict()"},
        "state_dict": STATE,
        "message_hub": {
            "log_scalars": OrderedDict({"train/loss": history_buffer}),
            "runtime_info": OrderedDict(best=np.float64(0.4), lr=np.float32(0.02), order=np.arange(4)),
            "resumed_keys": {},
        },
        "optimizer": {"state": {}, "param_groups": []},
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_mmengine_log_with_the_real_history_buffer(tmp_path: Path, zipped: bool) -> None:
    logging = pytest.importorskip("mmengine.logging", reason="mmengine is not installed")
    path = tmp_path / "epoch_12.pth"
    checkpoint = mmengine_checkpoint(logging.HistoryBuffer([0.5, 0.4], [1, 1]))
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    found = load_checkpoint(path)
    assert_same(found.state_dict)
    assert found.classes == ("cat", "dog")
    assert found.metadata["epoch"] == 12


def test_mmengine_log_without_mmengine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("mmengine.logging.history_buffer")
    cls = type("HistoryBuffer", (), {"__module__": module.__name__, "__qualname__": "HistoryBuffer"})
    module.HistoryBuffer = cls  # type: ignore[attr-defined]
    buffer = cls()
    buffer.__dict__.update(_log_history=np.ones(3), max_length=1000000)
    path = tmp_path / "epoch_12.pth"
    with monkeypatch.context() as patch:
        for name in ("mmengine", "mmengine.logging", module.__name__):
            patch.setitem(sys.modules, name, module)
        torch.save(mmengine_checkpoint(buffer), path)
    found = load_checkpoint(path)
    assert_same(found.state_dict)
    assert found.classes == ("cat", "dog")


def test_allowed_globals_are_as_before(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(STATE, path)
    before = list(torch.serialization.get_safe_globals())
    load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError):
        load_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == set(before)


def python2_array(values: np.ndarray) -> bytes:
    """A float32 array in the opcodes that Python 2's cPickle wrote with protocol 2: its data is a byte string."""
    raw = values.astype("<f4").tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        + b"(K\x01K%c\x85cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        % len(values)
        + b"\x89T"
        + len(raw).to_bytes(4, "little")
        + raw
        + b"tb"
    )


def test_detectron2_zoo_pickle_of_python_2(tmp_path: Path) -> None:
    values = np.array([1.5, -2.25, 3e-8, 200.0])
    path = tmp_path / "model_final_f10217.pkl"
    path.write_bytes(
        b"\x80\x02}(U\x05modelccollections\nOrderedDict\n]\x85RU\x04a.wt"
        + python2_array(values)
        + b"sU\x0a__author__U\x0bDetectron2 u."
    )
    checkpoint = load_checkpoint(path)
    assert torch.equal(checkpoint.state_dict["a.wt"], torch.tensor(values, dtype=torch.float32))
    assert checkpoint.metadata["__author__"] == "Detectron2 "


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_detectron2_pickle_in_both_spellings_of_numpy(tmp_path: Path, module: bytes, protocol: int) -> None:
    arrays = {k: v.numpy() for k, v in STATE.items()}
    text = pickle.dumps({"model": arrays, "__author__": "x", "loss": np.float64(1)}, protocol=protocol)
    own = np.empty(0).__reduce__()[0].__module__.encode()
    # Protocol 4 stores the length of a short string in the byte before it.
    text = text.replace(b"\x8c%c%s" % (len(own), own), b"\x8c%c%s" % (len(module), module))
    text = text.replace(b"c%s\n" % own, b"c%s\n" % module)
    if protocol == 4 and module != own:
        # A frame's length no longer fits, so take the frames out: FRAME is optional.
        assert text[2:3] == b"\x95"
        text = text[:2] + text[11:]
    path = tmp_path / "model_final.pkl"
    path.write_bytes(text)
    assert_same(load_checkpoint(path).state_dict)


def test_safetensors_with_classes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(STATE, path, metadata={"classes": json.dumps(["cat", "dog"]), "format": "pt"})
    checkpoint = load_checkpoint(path)
    assert sorted(checkpoint.state_dict) == sorted(STATE)
    assert all(torch.equal(checkpoint.state_dict[k], v) for k, v in STATE.items())
    assert checkpoint.classes == ("cat", "dog")
    assert checkpoint.metadata["format"] == "pt"


def test_safetensors_without_metadata_or_suffix(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    safetensors.torch.save_file({k: v.half() if v.is_floating_point() else v for k, v in STATE.items()}, path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.classes is None
    assert checkpoint.state_dict["0.weight"].dtype == torch.float16


def test_safetensors_with_broken_class_list(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(STATE, path, metadata={"classes": '["cat", '})
    with pytest.raises(UserError, match="classes is not a JSON list"):
        load_checkpoint(path)


def written(tmp_path: Path, form: str) -> Path:
    path = tmp_path / ("model.safetensors" if form == "safetensors" else "model.pth")
    if form == "safetensors":
        safetensors.torch.save_file(STATE, path)
    elif form == "plain":
        path.write_bytes(pickle.dumps({"model": {k: v.numpy() for k, v in STATE.items()}}, protocol=2))
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=form == "zip")
    assert len(load_checkpoint(path).state_dict) == len(STATE)
    return path


@pytest.mark.parametrize("form", ["zip", "legacy", "plain", "safetensors"])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.9, "all but one byte"])
def test_truncated(tmp_path: Path, form: str, keep: float | str) -> None:
    path = written(tmp_path, form)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else len(whole) - 1])
    with pytest.raises(UserError, match=r"truncated|not a whole safetensors") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"epoch 1: loss 0.3\n", "text file"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "git lfs pull"),
        (b"\xff\xd8\xff\xe0 jpeg", "unknown binary"),
        (b"\x80", "not a checkpoint"),
    ],
)
@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_not_a_checkpoint(tmp_path: Path, content: bytes, says: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if name.endswith("safetensors") and content:
        says = "not a whole safetensors file"
    with pytest.raises(UserError, match=says):
        load_checkpoint(path)


def test_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "weights are elsewhere")
    with pytest.raises(UserError, match="not a checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"epoch": 1}, "'epoch' is int, not a tensor"),
        ([torch.zeros(1)], "holds list"),
        ({}, "empty"),
        ({"state_dict": {}}, "empty"),
        ({"a": {"b": torch.zeros(1)}}, "'a' is dict, not a tensor"),
    ],
)
def test_no_weights_inside(tmp_path: Path, data: Any, says: str) -> None:
    path = tmp_path / "model.pth"
    torch.save(data, path)
    with pytest.raises(UserError, match=says):
        load_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_other_pickle_protocol_names_the_switch(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(STATE, path, pickle_protocol=4)
    with pytest.raises(UserError, match=r"operand.*model\.allow_pickle=true"):
        load_checkpoint(path)
    assert_same(load_checkpoint(path, allow_pickle=True).state_dict)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_or_infinity_names_the_parameter(tmp_path: Path, value: float) -> None:
    path = tmp_path / "model.pth"
    weights = OrderedDict((k, v.clone()) for k, v in STATE.items())
    weights["1.running_var"][2] = value
    torch.save(weights, path)
    with pytest.raises(UserError, match=r"1\.running_var holds NaN or infinity"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["absent.pth", ""])
def test_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"correct model\.weights"):
        load_checkpoint(tmp_path / name)
