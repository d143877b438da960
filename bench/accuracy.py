"""The accuracy pass: every image once, predictions on disk as they are made, COCO mask AP at the end.

The rules of COCO's mask AP that are ours to keep live here: results carry no ``bbox`` (with one, the area buckets would
come from the box: mmdetection PR 4898), scores are not rounded, masks are binarised at full resolution.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from bench.config import BenchConfig
from bench.dataset import CocoDataset, ImageRecord, read_images
from bench.predictor import Instances, ReplayPredictor
from bench.result import COCO_FIGURES, AccuracyResult
from bench.results_file import normalised
from bench.rle import masks_to_rle
from bench.runner import Runner

PREDICTIONS = "predictions.json"

Figures = tuple[dict[str, "float | None"], dict[str, "float | None"]]


class Evaluator(ABC):
    """COCO mask evaluation, fed image by image."""

    @abstractmethod
    def __init__(self, dataset: CocoDataset) -> None: ...

    @abstractmethod
    def update(self, image_id: int, results: Sequence[dict[str, Any]]) -> None:
        """Take the results of one image. Every image of the dataset must be given, also one without results."""

    @abstractmethod
    def figures(self) -> Figures:
        """The twelve figures by name, and AP by category name: fractions, None where COCO defines none."""


class HotcocoEvaluator(Evaluator):
    """hotcoco's ``StreamingEval``: an image is matched as soon as it is predicted."""

    def __init__(self, dataset: CocoDataset) -> None:
        from hotcoco import StreamingEval

        truth = dataset.ground_truth()
        self._categories = truth["categories"]
        self._images = {image["id"]: image for image in truth["images"]}
        self._annotations: dict[int, list[dict[str, Any]]] = {}
        for annotation in truth["annotations"]:
            self._annotations.setdefault(annotation["image_id"], []).append(annotation)
        self._stream = StreamingEval(self._categories, iou_type="segm")

    def update(self, image_id: int, results: Sequence[dict[str, Any]]) -> None:
        self._stream.update([self._images[image_id]], self._annotations.get(image_id, []), list(results))

    def figures(self) -> Figures:
        evaluation = self._stream.finalize()
        evaluation.accumulate()
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.summarize()
        assert evaluation.eval is not None  # accumulate() has filled it
        return _named(evaluation.stats, evaluation.eval["precision"], self._categories)


class PycocotoolsEvaluator(Evaluator):
    """The reference implementation; keeps all results until the end."""

    def __init__(self, dataset: CocoDataset) -> None:
        self._truth = dataset.ground_truth()
        self._results: list[dict[str, Any]] = []

    def update(self, image_id: int, results: Sequence[dict[str, Any]]) -> None:
        self._results += [dict(result) for result in results]  # loadRes writes into what it is given

    def figures(self) -> Figures:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = self._truth
            truth.createIndex()
            # loadRes refuses an empty list; a COCO without annotations is what it would have made of it.
            found = truth.loadRes(self._results) if self._results else COCO()
            if not self._results:
                found.dataset = {**self._truth, "annotations": []}
                found.createIndex()
            evaluation = COCOeval(truth, found, "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return _named(evaluation.stats, evaluation.eval["precision"], self._truth["categories"])


EVALUATORS: dict[str, type[Evaluator]] = {"hotcoco": HotcocoEvaluator, "pycocotools": PycocotoolsEvaluator}


def _named(stats: Any, precision: Any, categories: Sequence[dict[str, Any]]) -> Figures:
    """COCO's arrays with names. ``precision`` is (IoU, recall, category, area, maxDets), -1 where undefined."""
    figures = {name: _defined(value) for name, value in zip(COCO_FIGURES, stats, strict=True)}
    per_class: dict[str, float | None] = {}
    precision = np.asarray(precision)
    for k, category in enumerate(sorted(categories, key=lambda c: c["id"])):
        values = precision[:, :, k, 0, -1]
        values = values[values > -1]
        per_class[category["name"]] = float(values.mean()) if values.size else None
    return figures, per_class


def _defined(value: float) -> float | None:
    return float(value) if value > -1 else None


class PredictionsFile:
    """A COCO results file written as the predictions are made, one detection a line.

    After a kill all but the closing bracket is there.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.count = 0

    def write(self, results: Sequence[dict[str, Any]]) -> None:
        for result in results:
            self._file.write((",\n" if self.count else "") + json.dumps(result))
            self.count += 1
        self._file.flush()


@contextlib.contextmanager
def open_predictions(path: Path) -> Iterator[PredictionsFile]:
    """Open a results file for writing; the array is closed when the block ends, whatever ended it."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("[\n")
        try:
            yield PredictionsFile(file)
        finally:
            file.write("\n]\n")


def measure(
    model: Runner | ReplayPredictor,
    dataset: CocoDataset,
    labels: Sequence[int | None],
    config: BenchConfig,
    folder: Path,
    progress: Callable[[str, float, float, int], None],
) -> AccuracyResult:
    """Evaluate every image of the dataset.

    labels: the model's label -> the dataset's category id, None for a class that the dataset does not have.
    Random weights give no AP: their figures stay None, the predictions are still written (for the panels).
    """
    evaluator = EVALUATORS[config.evaluator](dataset)
    began = time.monotonic()
    images = dataset.images
    with open_predictions(folder / PREDICTIONS) as predictions:
        for start in range(0, len(images), config.batch_size):
            records = images[start : start + config.batch_size]
            for record, results in zip(records, _predict(model, records, labels, config), strict=True):
                predictions.write(results)
                evaluator.update(record.id, results)
            progress("accuracy", start + len(records), len(images), config.batch_size)
    random = config.model.weights == "random"
    figures, per_class = (None, None) if random else evaluator.figures()
    return AccuracyResult(
        evaluator=config.evaluator,
        evaluator_version=importlib.metadata.version(config.evaluator),
        images_evaluated=len(images),
        images_in_dataset=dataset.total_images,
        detections=predictions.count,
        overlap=config.overlap,
        predictions=PREDICTIONS,
        figures=figures,
        figures_absent="weights: random" if random else None,
        per_class=per_class,
        seconds=time.monotonic() - began,
    )


def _predict(
    model: Runner | ReplayPredictor,
    records: Sequence[ImageRecord],
    labels: Sequence[int | None],
    config: BenchConfig,
) -> list[list[dict[str, Any]]]:
    """COCO results of each image of one batch."""
    if isinstance(model, ReplayPredictor):
        return [[normalised(r, i.height, i.width) for r in model.results(i.id)] for i in records]
    found = model.model(model.preprocess(read_images(records)))
    for record, instances in zip(records, found, strict=True):
        instances.validate(record.height, record.width, len(labels), config.protocol.max_detections)
        if config.overlap == "highest_score":
            instances.masks = without_overlap(instances.masks)
    return [to_results(instances, r.id, labels) for r, instances in zip(records, found, strict=True)]


def without_overlap(masks: torch.Tensor) -> torch.Tensor:
    """Give each pixel to the highest-scoring instance that claims it.

    masks: bool (N, H, W) by falling score. Gives the same shape; masks that are covered whole become empty.
    """
    if len(masks) == 0:
        return masks
    winner = masks.to(torch.uint8).argmax(dim=0)  # the first, hence highest-scoring, instance of each pixel
    order = torch.arange(len(masks), device=masks.device)[:, None, None]
    return masks & (winner == order)


def to_results(instances: Instances, image_id: int, labels: Sequence[int | None]) -> list[dict[str, Any]]:
    """Instances as COCO results, without ``bbox``; those of a class that the dataset lacks are left out."""
    rles = masks_to_rle(instances.masks)
    triples = zip(rles, instances.scores.tolist(), instances.labels.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": labels[label], "segmentation": rle, "score": score}
        for rle, score, label in triples
        if labels[label] is not None
    ]
