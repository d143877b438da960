"""Test the columns of licences: a reader who relies on one must not get that of other weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from literal_results import build_result, build_training

from bench.schema.result import Result
from reports.__main__ import main
from reports.table.comparison import load

Write = Callable[[Path, Sequence[Result]], Path]


def licensed(code: str | None, weights: str | None, library: str = "mmdet", used: str = "zoo") -> Result:
    result = build_result(library=library, weights=used)
    result.config["model"]["licence"] = {"code": code, "weights": weights}
    return result


@pytest.mark.parametrize(
    ("name", "weights", "shown"),
    [
        ("mask_rcnn_r50_detectron2", "zoo", "CC-BY-SA-3.0"),
        ("mask_rcnn_r50_detectron2", "mine.pth", None),
        ("mask_rcnn_r50_detectron2", "random", None),
        ("mask_rcnn_r50_detectron2", "weights/demo_mask_rcnn_detectron2.safetensors", None),
        ("demo_mask_rcnn_detectron2", "weights/demo_mask_rcnn_detectron2.safetensors", "CC-BY-SA-3.0"),
        ("demo_mask_rcnn_detectron2", "weights/demo_mask_rcnn_onnx.onnx", "CC-BY-SA-3.0"),
        ("demo_mask_rcnn_detectron2", "other/weights/demo_mask_rcnn_detectron2.safetensors", None),
        ("demo_mask_rcnn_detectron2", "weights/mine.safetensors", None),
    ],
)
def test_the_licence_is_that_of_the_weights_used(
    name: str, weights: str, shown: str | None, tmp_path: Path, write_run: Write
) -> None:
    result = licensed("Apache-2.0", "CC-BY-SA-3.0", used=weights)
    result.config["model"]["name"] = name
    comparison = load([write_run(tmp_path, [result])], tmp_path)
    assert comparison.cell(0, "licence") == "Apache-2.0"
    assert comparison.cell(0, "weights_licence") == shown


def test_trained_weights_and_results_of_before_have_none(tmp_path: Path, write_run: Write) -> None:
    trained, before = licensed("Apache-2.0", "CC-BY-SA-3.0"), licensed(None, None)
    trained.finetune = build_training()
    del before.config["model"]["licence"]
    comparison = load([write_run(tmp_path, [trained, before])], tmp_path)
    assert {comparison.cell(row, "weights_licence") for row in (0, 1)} == {None}
    assert {comparison.cell(row, "licence") for row in (0, 1)} == {"Apache-2.0", None}


def test_one_can_choose_by_it(tmp_path: Path, write_run: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A licence that is not known is neither that one nor another."""
    results = [
        licensed("AGPL-3.0", "AGPL-3.0", "ultralytics"),
        licensed("Apache-2.0", None),
        licensed(None, None, "torchvision"),
    ]
    run = write_run(tmp_path, results)
    assert main([str(run), "--where", "licence != 'AGPL-3.0'"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "rows with licence != 'AGPL-3.0':",
        "  Mask R-CNN R50-FPN · mmdet: licence Apache-2.0",
        "fell out:",
        "  Mask R-CNN R50-FPN · ultralytics: licence != 'AGPL-3.0': AGPL-3.0",
        "  Mask R-CNN R50-FPN · torchvision: licence != 'AGPL-3.0': not known",
    ]
    assert main([str(run), "--where", "weights_licence == 'MIT'"]) == 1
