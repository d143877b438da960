"""The evaluators that mask AP can come from, behind one interface.

Results are given without ``bbox``: with one, the area buckets would come from the box (mmdetection PR 4898). Ids are
our own, from 1 on (:meth:`bench.data.dataset.CocoDataset.ground_truth`): no evaluator gets those of a file.

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
from bench.data.ids import Id
from bench.errors import UserError
from bench.evaluation.lvis import first_by_score, lvis_figures, numbered_keys
from bench.evaluation.matching import COCO_MAX_DETECTIONS
from bench.schema.parts.accuracy import COCO_FIGURES

Figures = tuple[dict[str, "float | None"], dict[str, "float | None"]]

COCO_LIMITS = (1, 10, COCO_MAX_DETECTIONS)
"""The numbers of detections of an image and category at which COCO defines recall."""


OF_COCO_ALONE = ("mask_ar_1", "mask_ar_10", "mask_ar_100")
"""Figures that LVIS does not define: its limit is of an image, and there is one."""


class Evaluator(ABC):
    """A COCO mask evaluation that takes the results image by image."""

    @abstractmethod
    def __init__(self, dataset: CocoDataset, max_detections: int = COCO_MAX_DETECTIONS) -> None:
        """Prepare an evaluation in which ``max_detections`` of an image and category count, by falling score."""

    @abstractmethod
    def update(self, image_id: Id, results: Sequence[dict[str, Any]]) -> None:
        """Take the results of one image, under the ids of the data set. Give every image, also one without results."""

    @abstractmethod
    def figures(self) -> Figures:
        """Return the twelve figures by name, and AP by category name: fractions, None where COCO defines none.

        AP, and recall by size, are those at ``max_detections``. Recall with more detections than that is None. Of an
        LVIS set, the figures of :data:`LVIS_FIGURES` are there too, and recall at other limits is None.
        """


class HotcocoEvaluator(Evaluator):
    """hotcoco's ``StreamingEval``: it matches an image as soon as it is predicted, and keeps 70 bytes a detection.

    Of an LVIS set it follows the rules of lvis-api; ``max_detections`` are then those of an image, of all categories
    together.
    """

    def __init__(self, dataset: CocoDataset, max_detections: int = COCO_MAX_DETECTIONS) -> None:
        from hotcoco import Params, StreamingEval

        self._truth = _Numbered(dataset)
        self._annotations: dict[int, list[dict[str, Any]]] = {}
        for annotation in self._truth.coco["annotations"]:
            self._annotations.setdefault(annotation["image_id"], []).append(annotation)
        self._is_lvis = dataset.federation is not None
        self._limits = [max_detections] if self._is_lvis else _limits(max_detections)
        parameters = Params(iou_type="segm")
        parameters.max_dets = self._limits
        categories = self._truth.coco["categories"]
        self._stream = StreamingEval(categories, iou_type="segm", lvis_style=self._is_lvis, params=parameters)

    def update(self, image_id: Id, results: Sequence[dict[str, Any]]) -> None:
        image = self._truth.images[image_id]
        if self._is_lvis:
            results = first_by_score(results, self._limits[-1])
        self._stream.update([image], self._annotations.get(image["id"], []), self._truth.numbered(image_id, results))

    def figures(self) -> Figures:
        evaluation = self._stream.finalize()
        evaluation.accumulate()
        arrays: Any = evaluation.eval
        categories = self._truth.coco["categories"]
        if not self._is_lvis:
            return _named(arrays, self._limits, categories)
        figures, per_class = _named(arrays, self._limits, categories)
        figures |= dict.fromkeys(OF_COCO_ALONE)
        frequency = [category["frequency"] for category in categories]
        precision, recall = np.asarray(arrays["precision"]), np.asarray(arrays["recall"])
        return figures | lvis_figures(precision, recall, frequency), per_class


class PycocotoolsEvaluator(Evaluator):
    """The reference implementation, which keeps all results until the end."""

    def __init__(self, dataset: CocoDataset, max_detections: int = COCO_MAX_DETECTIONS) -> None:
        if dataset.federation is not None:
            raise UserError("evaluator=pycocotools: knows no rules of LVIS; give evaluator=hotcoco")
        self._truth = _Numbered(dataset)
        self._limits = _limits(max_detections)
        self._results: list[dict[str, Any]] = []

    def update(self, image_id: Id, results: Sequence[dict[str, Any]]) -> None:
        self._results += self._truth.numbered(image_id, results)

    def figures(self) -> Figures:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = self._truth.coco
            truth.createIndex()
            # loadRes refuses an empty list, so a COCO without annotations stands for it.
            detections = truth.loadRes(self._results) if self._results else COCO()
            if not self._results:
                detections.dataset = {**self._truth.coco, "annotations": []}
                detections.createIndex()
            evaluation = COCOeval(truth, detections, "segm")
            evaluation.params.maxDets = self._limits
            evaluation.evaluate()
            evaluation.accumulate()
        return _named(evaluation.eval, self._limits, self._truth.coco["categories"])


EVALUATORS: dict[str, type[Evaluator]] = {"hotcoco": HotcocoEvaluator, "pycocotools": PycocotoolsEvaluator}


class _Numbered:
    """A data set under ids of our own.

    coco: its ground truth
    images: the entry of each image in it, by the image's id in the data set
    """

    def __init__(self, dataset: CocoDataset) -> None:
        self.coco = dataset.ground_truth()
        self.images = {record.id: entry for record, entry in zip(dataset.images, self.coco["images"], strict=True)}
        pairs = zip(dataset.categories, self.coco["categories"], strict=True)
        self._categories = {category.id: entry["id"] for category, entry in pairs}
        if dataset.federation is not None:
            for image_id, image in self.images.items():
                image.update(numbered_keys(dataset, image_id, self._categories))
            for category, entry in zip(dataset.categories, self.coco["categories"], strict=True):
                entry["frequency"] = dataset.federation.frequency[category.id]

    def numbered(self, image_id: Id, results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return new results of an image under ids of our own, with the keys that an evaluation needs alone."""
        number = self.images[image_id]["id"]
        return [
            {
                "image_id": number,
                "category_id": self._categories[result["category_id"]],
                "segmentation": result["segmentation"],
                "score": result["score"],
            }
            for result in results
        ]


def _limits(max_detections: int) -> list[int]:
    """Return the numbers of detections at which an evaluation counts, rising; the last is that of AP."""
    return sorted({limit for limit in COCO_LIMITS if limit < max_detections} | {max_detections})


def _named(arrays: Any, limits: Sequence[int], categories: Sequence[dict[str, Any]]) -> Figures:
    """Give names to what an evaluation has accumulated, by the rules of pycocotools' ``COCOeval.summarize``.

    That method itself takes AP at 100 detections, and gives -1 where ``maxDets`` lacks 100.

    Args:
        arrays: ``precision`` (IoU, recall, category, area, limit) and ``recall`` (IoU, category, area, limit), -1 where
            undefined
    """
    precision, recall = np.asarray(arrays["precision"]), np.asarray(arrays["recall"])
    at_limit = [_mean(precision[..., area, -1]) for area in range(4)]
    by_number = [_mean(recall[..., 0, limits.index(n)]) if n in limits else None for n in COCO_LIMITS]
    values = [
        at_limit[0],
        _mean(precision[:1, ..., 0, -1]),
        _mean(precision[5:6, ..., 0, -1]),
        *at_limit[1:],
        *by_number,
        *(_mean(recall[..., area, -1]) for area in (1, 2, 3)),
    ]
    per_class: dict[str, float | None] = {}
    for k, category in enumerate(categories):
        value = _mean(precision[:, :, k, 0, -1])
        if value is not None or category["name"] not in per_class:  # of two of one name, one may have no object
            per_class[category["name"]] = value
    return dict(zip(COCO_FIGURES, values, strict=True)), per_class


def _mean(values: np.ndarray) -> float | None:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None
