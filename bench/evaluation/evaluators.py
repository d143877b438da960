"""The evaluators that a mask AP can come from, behind one interface.

Results are given without ``bbox``: with one, the area buckets would come from the box (mmdetection PR 4898).
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
    """hotcoco's ``StreamingEval``: an image is matched as soon as it is predicted; about 70 bytes a detection stay."""

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
