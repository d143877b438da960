"""The evaluators that mask AP can come from, behind one interface.

Results are given without ``bbox``: with one, the area buckets would come from the box (mmdetection PR 4898).

There are two engines of AP, for two purposes. The figures that we publish come from hotcoco, or from pycocotools where
it is asked for, so that a reader can repeat them with a package that is not ours. The rest comes from our own matching
(:mod:`bench.evaluation.matching`): AP of a thousand resampled sets, Boundary AP, the cost of each type of error,
calibration and the worst images. Neither package has a bootstrap, and each further question to them would be another
evaluation of all masks; our matches take 61 bytes a detection and answer all of it after the masks are gone. The tests
hold the AP of our matches to both packages, to 1e-9.
"""

from __future__ import annotations

import contextlib
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.data.dataset import CocoDataset
from bench.schema.result import COCO_FIGURES

Figures = tuple[dict[str, "float | None"], dict[str, "float | None"]]


class Evaluator(ABC):
    """A COCO mask evaluation that takes the results image by image."""

    @abstractmethod
    def __init__(self, dataset: CocoDataset) -> None: ...

    @abstractmethod
    def update(self, image_id: int, results: Sequence[dict[str, Any]]) -> None:
        """Take the results of one image. Give every image of the dataset, also one without results."""

    @abstractmethod
    def figures(self) -> Figures:
        """Return the twelve figures by name, and AP by category name: fractions, None where COCO defines none."""


class HotcocoEvaluator(Evaluator):
    """hotcoco's ``StreamingEval``: it matches an image as soon as it is predicted, and keeps 70 bytes a detection."""

    def __init__(self, dataset: CocoDataset) -> None:
        from hotcoco import StreamingEval

        self._images = {image.id: image for image in dataset.images}
        self._annotations = dataset.annotations_by_image()
        self._categories = [{"id": category.id, "name": category.name} for category in dataset.categories]
        self._stream = StreamingEval(self._categories, iou_type="segm")

    def update(self, image_id: int, results: Sequence[dict[str, Any]]) -> None:
        record = self._images[image_id]
        image = {"id": record.id, "height": record.height, "width": record.width}
        self._stream.update([image], self._annotations.get(image_id, []), list(results))

    def figures(self) -> Figures:
        evaluation = self._stream.finalize()
        evaluation.accumulate()
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.summarize()
        assert evaluation.eval is not None  # accumulate() has filled it
        return _named(evaluation.stats, evaluation.eval["precision"], self._categories)


class PycocotoolsEvaluator(Evaluator):
    """The reference implementation, which keeps all results until the end."""

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
            # loadRes refuses an empty list, so a COCO without annotations stands for it.
            detections = truth.loadRes(self._results) if self._results else COCO()
            if not self._results:
                detections.dataset = {**self._truth, "annotations": []}
                detections.createIndex()
            evaluation = COCOeval(truth, detections, "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return _named(evaluation.stats, evaluation.eval["precision"], self._truth["categories"])


EVALUATORS: dict[str, type[Evaluator]] = {"hotcoco": HotcocoEvaluator, "pycocotools": PycocotoolsEvaluator}


def _named(stats: Any, precision: Any, categories: Sequence[dict[str, Any]]) -> Figures:
    """Give names to COCO's arrays. ``precision`` is (IoU, recall, category, area, maxDets), -1 where undefined."""
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
