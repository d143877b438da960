"""Tests that the accuracy pass keeps a few numbers a detection of an image that is done, and no masks."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contexts import context_of
from evaluator_cases import rectangle, rle_of

from bench.data.dataset import CocoDataset, from_coco
from bench.data.results.plain import columns_of
from bench.evaluation.matching import Matcher
from bench.passes.accuracy import PASS
from bench.passes.predictions import ReplayedPredictions
from bench.predictor import ReplayPredictor, ResultsFile
from bench.schema.config import BenchConfig, ModelConfig

OBJECTS, DETECTIONS = 2, 20
RLES = [rle_of(np.roll(rectangle(30, 20 + n), (7 * n, 9 * n), (0, 1))) for n in range(12)]
HEIGHT, WIDTH = RLES[0]["size"]
BYTES_A_DETECTION, BYTES_AN_OBJECT = 61, 13


def dataset_of(images: int) -> CocoDataset:
    places = [(image, n) for image in range(1, images + 1) for n in range(OBJECTS)]
    truth = {
        "images": [
            {"id": image, "height": HEIGHT, "width": WIDTH, "file_name": f"{image}.jpg"}
            for image in range(1, images + 1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": 1 + n,
                "iscrowd": 0,
                "area": 600,
                "bbox": [0, 0, 20, 30],
                "segmentation": RLES[(image + n) % len(RLES)],
            }
            for number, (image, n) in enumerate(places, start=1)
        ],
        "categories": [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}],
    }
    return from_coco("many", truth, Path("images"), Path("truth.json"), sha256="")


class Replay(ReplayPredictor):
    """Makes the results of an image when they are asked for, by falling score."""

    classes = ()

    def results(self, image_id: int) -> list[dict[str, Any]]:
        return [
            {
                "image_id": image_id,
                "category_id": 1 + n % 2,
                "segmentation": dict(RLES[(image_id + n // 2) % len(RLES)]),
                "score": 1 / (2 + n + image_id / 10_000),
            }
            for n in range(DETECTIONS)
        ]


def test_the_matcher_keeps_61_bytes_a_detection() -> None:
    """The buffers may be an eighth larger than their content."""
    dataset, replay = dataset_of(900), Replay()
    matcher = Matcher(dataset)
    held = []
    tracemalloc.start()
    try:
        for image in dataset.images:
            matcher.update(image.id, replay.results(image.id))
            if image.id in (300, 900):
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    exact = 600 * (DETECTIONS * BYTES_A_DETECTION + OBJECTS * BYTES_AN_OBJECT)
    assert exact * 0.8 < held[1] - held[0] < exact * 1.3
    assert len(matcher.matches().score) == 900 * DETECTIONS


class OfFile(ReplayPredictor):
    """Names a results file."""

    classes = ()

    def __init__(self, path: Path) -> None:
        self.results_file = ResultsFile(path)


@pytest.mark.parametrize(("more", "least", "most"), [({"by": "a tool"}, 300, 900), ({}, 60, 300)])
def test_results_of_a_file_are_given_up_as_they_are_used(
    more: dict[str, str], least: int, most: int, tmp_path: Path
) -> None:
    """As objects all of them take 700 bytes a detection, which nobody needs beside what the evaluation keeps of them.

    As columns they take 50 bytes and the length of their masks' text; a key that nobody knows keeps a file from these.
    """
    dataset, replay = dataset_of(150), Replay()
    path = tmp_path / "results.json"
    path.write_text(json.dumps([result | more for image in dataset.images for result in replay.results(image.id)]))
    columns_of(b"[]")  # what it imports is no result
    tracemalloc.start()
    try:
        predictions = ReplayedPredictions(OfFile(path), dataset, BenchConfig())
        held = [tracemalloc.get_traced_memory()[0]]
        given = sum(len(results) for _, outputs in predictions.outputs(dataset.images) for results in outputs)
        held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert given == 150 * DETECTIONS
    assert least * given < held[0] < most * given
    assert held[1] < 60 * given


def peak_growth(few: int, many: int, folder: Path) -> float:
    """Give the bytes a detection by which peak resident memory is higher for many images than for few."""
    dataset, config = dataset_of(many), BenchConfig(model=ModelConfig(weights="own"))
    peaks = []
    for images in (few, many):
        PASS.measure(context_of(Replay(), dataset.first(images), config, labels=[], folder=folder))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return (peaks[1] - peaks[0]) / ((many - few) * DETECTIONS)


def test_the_whole_pass_keeps_no_predictions(tmp_path: Path) -> None:
    """It runs in a process of its own, whose peak includes the allocator's scatter of some MB.

    Predictions that are read back at the end would take 1,500 bytes a detection more.
    """
    code = f"from test_accuracy_memory import *; print(peak_growth(550, 1500, Path({str(tmp_path)!r})))"
    here = Path(__file__).resolve()
    folders = [str(here.parent), str(here.parents[1] / "cases"), str(here.parents[2])]
    start = f"import sys; sys.path[:0] = {folders!r}; "
    done = subprocess.run([sys.executable, "-c", start + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1200
