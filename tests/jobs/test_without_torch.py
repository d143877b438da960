"""Tests that a worker which replays results does without torch, and that every other one has it before its model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.jobs.worker.without_torch import device
from bench.jobs.worker.without_torch.need import needs_torch

ROOT = Path(__file__).resolve().parents[2]

REPLAYING = '''
from bench.predictor import ReplayPredictor
class Light(ReplayPredictor):
    """Replays."""
    needs_torch: bool = False
class Plain(ReplayPredictor):
    needs_torch = False
class Heavy(ReplayPredictor):
    needs_torch = True
class Inherits(Plain):
    pass
class Late(ReplayPredictor):
    def __init__(self):
        needs_torch = False
'''


def test_the_source_says_whether_torch_is_needed(tmp_path: Path) -> None:
    """Only a plain False in the class's own body is a promise: torch that is missing would be found too late."""
    assert not needs_torch("adapters.replay.ReplayPredictor")
    assert needs_torch("adapters.torchvision.adapter.MaskRCNN")
    assert needs_torch("adapters.no_such_module.Class")
    assert needs_torch("json.JSONDecoder")
    file = tmp_path / "mine.py"
    file.write_text(REPLAYING)
    said = {name: needs_torch(f"{file}:{name}") for name in ("Light", "Plain", "Heavy", "Inherits", "Late", "Absent")}
    assert said == {"Light": False, "Plain": False, "Heavy": True, "Inherits": True, "Late": True, "Absent": True}
    file.write_text("class Light(\n")
    assert needs_torch(f"{file}:Light")
    assert needs_torch(f"{tmp_path / 'absent.py'}:Light")


def test_a_worker_that_replays_imports_no_torch_and_names_its_version() -> None:
    """Rows of one report list the same versions, whether or not their workers had torch."""
    code = """
import json, sys
import adapters.replay, bench.jobs.worker.main, bench.jobs.worker.check, bench.passes.accuracy
from bench.device.machine import describe
from bench.jobs.worker.without_torch.device import device_of
device = device_of("cpu")
described = describe(device)
imported, has_threads = "torch" in sys.modules, "torch_threads" in described
print(json.dumps([imported, str(device), device.type, described["versions"], has_threads]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported, name, kind, versions, has_threads = json.loads(done.stdout)
    assert (imported, name, kind, has_threads) == (False, "cpu", "cpu", False)
    assert versions["torch"] == torch.__version__
    assert versions.get("cuda") == torch.version.cuda
    assert "cudnn" not in versions


def test_a_device_is_torchs_own_where_torch_is_there() -> None:
    assert device.device_of("cpu") == torch.device("cpu")
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert device.resolve_device("auto") == torch.device(expected)


def test_without_torch_the_drivers_library_decides_what_auto_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library is there, torch is asked, since the GPU may still be hidden."""
    libraries: list[str] = []

    def load(name: str) -> None:
        libraries.append(name)
        raise OSError

    monkeypatch.setattr(device.ctypes, "CDLL", load)
    monkeypatch.setattr(device.sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "torch")
    absent = not Path("/dev/kfd").exists()
    assert device._may_have_gpu() is not absent
    assert libraries == ["libcuda.so.1"] * absent
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: None)
    assert device._may_have_gpu()
