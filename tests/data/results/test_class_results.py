"""Tests that what a class replays is checked where it is used, and that the message says who gave what."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bright_set import bright_set
from contexts import context_of
from pycocotools import mask as mask_api

from bench.data.coco_json import to_rle
from bench.passes.accuracy import PASS
from bench.predictor import ReplayPredictor
from bench.schema.config import BenchConfig, ModelConfig

RLE = to_rle([[4, 3, 30, 3, 30, 20, 4, 20]], 64, 80)


def sound(score: float = 0.5, image_id: int = 2) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 7, "segmentation": dict(RLE), "score": score}


class Mine(ReplayPredictor):
    classes = ()

    def __init__(self, given: Any) -> None:
        self.given = given

    def results(self, image_id: int) -> Any:
        return self.given if image_id == 2 else []


def replayed(given: Any, folder: Path) -> Any:
    dataset = bright_set(folder / "images", 2, (64, 80))
    config = BenchConfig(model=ModelConfig(weights="own"))
    return PASS.measure(context_of(Mine(given), dataset, config, labels=[], folder=folder))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (None, "Mine.results: image 2: gave a NoneType, must be a list of COCO results"),
        ([[1, 2]], "entry 0 is [1, 2], must be an object with image_id, category_id, segmentation, score"),
        ([{"score": 0.5}], "entry 0: image_id is missing, every result has image_id"),
        ([sound(image_id=1)], "entry 0: image_id 1 is not 2, the image that was asked for"),
        ([{**sound(), "category_id": 0}], "entry 0: category_id 0 is no category of the dataset"),
        ([sound(), sound(math.nan)], "entry 1: score is nan, must be a finite number"),
        ([sound(0.3), sound(0.4)], "entry 1: score 0.4 is above the one before, must be ordered by falling score"),
        (
            [{**sound(), "segmentation": {**RLE, "size": [80, 64]}}],
            "entry 0: segmentation.size is [80, 64], must be the image's [height, width], [64, 80]",
        ),
        ([{**sound(), "segmentation": "circle"}], 'entry 0: segmentation is "circle", must be a list of polygons'),
    ],
)
def test_a_result_that_breaks_a_promise_is_named(given: Any, line: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Mine\.results: image 2: ") as caught:
        replayed(given, tmp_path)
    assert line in str(caught.value)


def test_results_that_keep_the_promises_are_evaluated(tmp_path: Path) -> None:
    """More than the evaluator's 100 of a category may be given."""
    accuracy = replayed([sound(1 - k / 1000) for k in range(150)], tmp_path)
    assert accuracy.detections == 150


def test_results_as_pycocotools_and_numpy_give_them(tmp_path: Path) -> None:
    encoded = mask_api.encode(np.asfortranarray(mask_api.decode(RLE)))
    assert isinstance(encoded["counts"], bytes)
    accuracy = replayed([{**sound(), "segmentation": encoded, "score": np.float32(0.25)}], tmp_path)
    assert json.loads((tmp_path / accuracy.predictions).read_text()) == [sound(0.25)]


def test_ids_of_a_class_have_one_meaning_too(tmp_path: Path) -> None:
    """A class may keep what it read from JSON: 2.0 and "7" are 2 and 7, and so they stand in the predictions."""
    accuracy = replayed([{**sound(0.25), "image_id": 2.0, "category_id": "7"}], tmp_path)
    [written] = json.loads((tmp_path / accuracy.predictions).read_text())
    assert written == sound(0.25)
    assert type(written["image_id"]) is int
