"""Test the demo study as a user runs it: every library's models, the report, and the report written anew."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from bench.schema.result import read_result

LIBRARIES = ("torchvision", "onnxruntime", "mmdet", "transformers", "detectron2")


@pytest.fixture(scope="module")
def study(run_once: Any) -> tuple[Any, Path]:
    small = ["protocol=quick", "protocol.warmup_batches=1", "protocol.max_seconds=0.5", "dataset.shapes.count=4"]
    return run_once("study", "device=cpu", *small, timeout=580)


def test_every_installed_library_is_ok_and_every_absent_one_is_skipped(study: tuple[Any, Path]) -> None:
    done, out = study
    assert done.returncode == 0, done.stdout + done.stderr
    results = [read_result(path) for path in out.glob("jobs/*/result.json")]
    assert len(results) == 11
    for result in results:
        library = result.config["model"]["library"]
        if importlib.util.find_spec(library) is None:
            assert result.status == "skipped"
            assert f"docs/install.md#{library}" in (result.reason or "")
            continue
        assert result.status == "ok", result.reason
        assert result.speed is not None
        assert result.memory is not None
        assert result.accuracy is not None
        assert result.model is not None
        if library == "onnxruntime":
            assert result.model.runtime is not None
            assert 0 < result.model.runtime.file_bytes < 3_000_000
        else:
            assert result.model.parameters is not None
            assert 0 < result.model.parameters < 3_000_000
        assert result.accuracy.images_evaluated == 4
        if result.model.weights == "random":
            assert set(result.speed.detections_per_image) == {100}, "untrained models are timed saturated"
            assert result.accuracy.figures is None
        else:
            assert result.accuracy.figures is not None
            assert (result.accuracy.figures["mask_ap"] or 0) > 0.2
            assert result.accuracy.boundary_figures is not None
            assert result.accuracy.confidence_interval is not None


def test_the_table_and_the_path_are_shown(study: tuple[Any, Path]) -> None:
    done, out = study
    assert f"report: {out}/comparison.html" in done.stdout
    for family in ("Mask R-CNN", "SOLO", "SOLOv2", "PointRend", "Mask2Former", "RF-DETR"):
        assert family in done.stdout
    assert "\x1b[" not in done.stdout, "no control codes and no progress bar where there is no terminal"


def test_the_report_is_rebuilt_from_the_results(study: tuple[Any, Path], run_command: Any, tmp_path: Path) -> None:
    _, out = study
    done = run_command(str(out), "--out", str(tmp_path), module="reports")
    assert done.returncode == 0, done.stderr
    with open(out / "comparison.csv") as first, open(tmp_path / "comparison.csv") as second:
        before, after = list(csv.DictReader(first)), list(csv.DictReader(second))
    assert [{**row, "result": ""} for row in before] == [{**row, "result": ""} for row in after]
    assert {row["library"] for row in after} == set(LIBRARIES)
