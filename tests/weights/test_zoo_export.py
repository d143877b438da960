"""Test rows whose ONNX file is exported from another model's trained weights when a study is planned."""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("torchvision", reason="torchvision is not installed")

import onnx
from python_path import python_path

from bench.cli import export as exports
from bench.cli.exported import __main__ as command
from bench.errors import UserError
from bench.files.digests import sha256_of
from bench.jobs.plan import plan
from bench.weights.zoo_export import exported
from run_bench import compose

ROOT = Path(__file__).resolve().parents[2]
DEMO = "demo_mask_rcnn_torchvision"
ROW = "model=mask_rcnn_r50_v2_onnx"
ALIKE = ["study=none", "device=cpu", "dataset=shapes", "dataset.shapes.count=2"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    exported.cache_clear()
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_row_has_the_file_of_the_named_models_weights(tmp_path: Path, cache: Path) -> None:
    """The file says which weights it is of; a second plan finds it, and other versions are exported anew."""
    overrides = [ROW, f"model.zoo.export={DEMO}", "model.weights=zoo", *ALIKE]
    [planned] = plan(compose(overrides), tmp_path / "out", lambda *_: None)
    assert planned.skip_reason is None
    [file] = (cache / "weights").glob("*.onnx")
    assert planned.weights_path == str(file)
    assert planned.weights_sha256 == sha256_of(file)
    [told] = [entry.value for entry in onnx.load(str(file)).metadata_props if entry.key == "maskbench_origin"]
    assert json.loads(told)["weights_sha256"] == sha256_of(ROOT / "weights" / f"{DEMO}.safetensors")
    written = file.stat().st_mtime_ns
    exported.cache_clear()
    assert exported(DEMO) == file
    assert file.stat().st_mtime_ns == written


def test_what_a_killed_export_left_goes_and_one_process_exports(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of an unfinished file has the size of the file, and no other name ever was in it."""
    left = cache / "weights" / f"{exports.UNFINISHED_PREFIX}abcd"
    left.mkdir(parents=True)
    (left / "half.onnx").write_bytes(b"half")
    os.chmod(cache / "weights", 0o700)
    began: list[Path] = []

    def export(config: object, file: Path) -> None:
        began.append(file)
        time.sleep(0.3)
        file.write_bytes(b"whole")

    monkeypatch.setattr(exports, "export", export)
    [job] = compose([f"model={DEMO}", *ALIKE])
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(command.exported_file, [job.config] * 2))
    assert found == began * 2
    assert sorted(path.name for path in (cache / "weights").iterdir()) == sorted([began[0].name, command.LOCK])


def test_a_cache_that_cannot_be_written_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "file" / "below"))
    assert command.main([f"model={DEMO}"]) == 2
    where = tmp_path / "file" / "below" / "weights"
    assert capsys.readouterr().out == f"{where}: Not a directory; set MASKBENCH_CACHE to a folder with room\n"


def test_what_a_file_is_named_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other weights, another version of torch or another network have a file of their own."""

    def key(*overrides: str, weights: bytes = b"one") -> str:
        (tmp_path / "file").write_bytes(weights)
        [job] = compose([f"model={DEMO}", *ALIKE, *overrides])
        return command._key(job.config, tmp_path / "file")

    first = key()
    assert key() == first
    assert key(weights=b"two") != first
    assert key("model.options.builder=maskrcnn_resnet50_fpn") != first
    assert key("input_size=96x128") != first
    monkeypatch.setattr(command, "installed", lambda packages: dict.fromkeys(packages, "0.1"))
    assert key() != first


@pytest.mark.parametrize("changed", ["torchvision/export.py", "onnx/file.py"])
def test_other_code_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    """That of the network, and that which writes into the file what its outputs and its images are."""
    shutil.copytree(ROOT / "adapters", tmp_path / "adapters", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(command, "ROOT", tmp_path)
    [job] = compose([f"model={DEMO}", *ALIKE])
    before = command._key(job.config, None)
    with (tmp_path / "adapters" / changed).open("a") as file:
        file.write("# another line\n")
    assert command._key(job.config, None) != before


def test_random_weights_are_in_no_file(tmp_path: Path, cache: Path) -> None:
    """The row is skipped, and says what to give; nothing is exported."""
    [planned] = plan(compose([ROW, *ALIKE]), tmp_path / "out", lambda *_: None)
    assert planned.skip_reason == (
        "an ONNX file holds its weights; give model.weights=zoo, which exports mask_rcnn_r50_v2_torchvision"
    )
    assert not (cache / "weights").exists()


def test_an_absent_library_skips_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision.py").write_text("raise ModuleNotFoundError('No module named x', name='torchvision')\n")
    monkeypatch.setenv("PYTHONPATH", python_path(tmp_path))
    overrides = [ROW, f"model.zoo.export={DEMO}", "model.weights=zoo", *ALIKE]
    [planned] = plan(compose(overrides), tmp_path / "out", lambda *_: None)
    assert planned.skip_reason is not None
    assert planned.skip_reason.startswith("torchvision is not installed in ")


def test_a_name_that_is_no_model(tmp_path: Path) -> None:
    overrides = [ROW, "model.zoo.export=mask_rcnn", "model.weights=zoo", *ALIKE]
    with pytest.raises(UserError, match=r"^model\.zoo\.export=mask_rcnn: .*mask_rcnn") as raised:
        plan(compose(overrides), tmp_path / "out", lambda *_: None)
    assert "\n" not in str(raised.value)
