"""Tests that a results file which a class names is read once, repaired, evaluated as pycocotools would, and noted."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from bright_set import bright_set
from contexts import context_of
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.coco_json import to_rle
from bench.data.dataset import CocoDataset
from bench.data.results import reader
from bench.evaluation.evaluators import COCO_FIGURES
from bench.passes.accuracy import PASS
from bench.predictor import ReplayPredictor, ResultsFile
from bench.schema.config import BenchConfig, ModelConfig

SIZE = (64, 80)


class OfFile(ReplayPredictor):
    """Names a file; its own results must never be asked for."""

    classes = ()

    def __init__(self, path: Path) -> None:
        self.results_file = ResultsFile(path)

    def results(self, image_id: int | str) -> list[dict[str, Any]]:
        raise AssertionError("the file is read by maskbench")


def referee(dataset: CocoDataset, results: list[dict[str, Any]]) -> list[float]:
    """pycocotools' twelve figures of results with RLE."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i.id, "height": i.height, "width": i.width} for i in dataset.images],
            "annotations": [dict(a) for a in dataset.annotations],
            "categories": [{"id": c.id, "name": c.name} for c in dataset.categories],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def test_a_file_with_empty_masks_and_names_is_evaluated_as_pycocotools_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = bright_set(tmp_path / "images", 3, SIZE)
    found = [a["segmentation"] for a in dataset.annotations]
    given = [
        {"image_id": "1", "category_id": 7, "segmentation": found[0], "score": 0.7, "bbox": [0, 0, 1, 1]},
        {"image_id": "1", "category_id": 7, "segmentation": [], "score": 0.9},
        {"image_id": "2", "category_id": 7.0, "segmentation": [[5, 5, 9, 9]], "score": 0.8},
        {"image_id": "3", "category_id": 8, "segmentation": found[2], "score": 0.6},
    ]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(given))
    opened: list[Path] = []
    read_file = reader.read_file

    def counted(file: Path, *arguments: Any, **named: Any) -> bytes:
        opened.append(file)
        return read_file(file, *arguments, **named)

    monkeypatch.setattr(reader, "read_file", counted)
    config = BenchConfig(model=ModelConfig(weights="own"))
    context = context_of(OfFile(path), dataset, config, labels=[], folder=tmp_path)
    accuracy = PASS.measure(context)
    empty = {"size": list(SIZE), "counts": [SIZE[0] * SIZE[1]]}
    as_rle = [
        {"image_id": 1, "category_id": 7, "segmentation": to_rle(found[0], *SIZE), "score": 0.7},
        {"image_id": 1, "category_id": 7, "segmentation": mask_api.frPyObjects(empty, *SIZE), "score": 0.9},
        {"image_id": 2, "category_id": 7, "segmentation": mask_api.frPyObjects(empty, *SIZE), "score": 0.8},
    ]
    right = referee(dataset, as_rle)
    assert accuracy.figures == {
        key: None if value == -1 else pytest.approx(value, abs=1e-12)
        for key, value in zip(COCO_FIGURES, right, strict=True)
    }
    # The empty masks come before the only hit: precision 1/3 up to recall 1/3, at 34 of 101 recalls.
    assert right[0] == pytest.approx(34 / 101 / 3, abs=1e-9)
    assert accuracy.detections == 3
    assert opened == [path]
    assert context.result.notes == [
        "results: 4 results whose ids are written as 1.0 or as text: read as whole numbers (entry 0, entry 1, entry 2, "
        "...)",
        "results: 2 results without an area (no polygon, or one of fewer than three points): read as empty masks "
        "(entry 1, entry 2)",
        "results: 1 result of categories that the data set lacks: left out (entry 3: category_id 8)",
    ]
