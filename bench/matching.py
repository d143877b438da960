"""COCO's matching of detections with objects, image by image, kept in a form from which everything else follows.

The rules are those of pycocotools' ``COCOeval.evaluateImg``, at all IoU thresholds and area ranges at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.boundary import boundary_iou
from bench.coco_json import mask_library, to_rle
from bench.dataset import CocoDataset

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large: square pixels, both ends inclusive."""
MAX_DETECTIONS = (1, 10, 100)
"""Detections of one image and category that count, by falling score."""

_REQUIRED = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)  # pycocotools' own guard against an IoU just below 1


@dataclass(frozen=True)
class Matches:
    """What matching leaves of a data set: D detections, G objects, A area ranges, T IoU thresholds.

    images, categories: how many there are
    category, image: int32 (D,), indices into the data set's categories and images, both by rising id
    rank:            int32 (D,), place among the detections of its image and category, 0 to 99
    score:           float64 (D,)
    matched:         bool (D, A, T), has an object; ignored: bool (D, A, T), counts neither as true nor as false
    by_boundary:     bool (2, D, A, T), the last two when matched by Boundary IoU
    iou:             float64 (D,), mask IoU with the object that it matches at IoU 0.5 among all areas, else NaN
    object_category, object_image: int32 (G,)
    object_ignored:  bool (G, A), need not be found: a crowd, or outside the area range

    Detections stand by image, then by category, then by rank.
    """

    images: int
    categories: int
    category: np.ndarray
    image: np.ndarray
    rank: np.ndarray
    score: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    by_boundary: np.ndarray
    iou: np.ndarray
    object_category: np.ndarray
    object_image: np.ndarray
    object_ignored: np.ndarray

    def boundaries(self) -> Matches:
        """The same with the matches by Boundary IoU in the place of those by mask IoU."""
        return dataclasses.replace(self, matched=self.by_boundary[0], ignored=self.by_boundary[1])


class Matcher:
    """Matches images as they come and keeps no masks: about 200 bytes a detection."""

    def __init__(self, dataset: CocoDataset) -> None:
        self._images = {image.id: (index, image.height, image.width) for index, image in enumerate(dataset.images)}
        self._categories = {category.id: index for index, category in enumerate(dataset.categories)}
        self._objects: dict[int, list[dict[str, Any]]] = {}
        for annotation in dataset.annotations:
            self._objects.setdefault(annotation["image_id"], []).append(annotation)
        self._found: dict[int, Matches] = {}

    def update(self, image_id: int, results: Sequence[dict[str, Any]]) -> None:
        """Take the COCO results of one image; images may come in any order."""
        index, height, width = self._images[image_id]
        objects = self._objects.get(image_id, [])
        category, score, rank, order = self._ranked(results)
        detections = [results[i]["segmentation"] for i in order]
        truths = [to_rle(o["segmentation"], height, width) for o in objects]
        object_category = np.array([self._categories[o["category_id"]] for o in objects], np.int32)
        crowd = np.array([bool(o["iscrowd"]) for o in objects], bool)
        object_ignored = crowd[:, None] | _outside([o["area"] for o in objects])
        outside = _outside(mask_library().area(detections) if detections else [])
        iou, smaller = _overlaps(detections, category, truths, object_category, crowd)
        matched, ignored, matched_iou = match(iou, crowd, object_ignored, outside)
        self._found[index] = Matches(
            images=len(self._images),
            categories=len(self._categories),
            category=category,
            image=np.full(len(category), index, np.int32),
            rank=rank,
            score=score,
            matched=matched,
            ignored=ignored,
            by_boundary=np.stack(match(smaller, crowd, object_ignored, outside)[:2]),
            iou=matched_iou,
            object_category=object_category,
            object_image=np.full(len(objects), index, np.int32),
            object_ignored=object_ignored,
        )

    def _ranked(self, results: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Category, score, rank and index in ``results`` of the detections that count, by category and rank."""
        category = np.array([self._categories[result["category_id"]] for result in results], np.int32)
        score = np.array([result["score"] for result in results], np.float64)
        order = np.lexsort((-score, category))
        rank = np.arange(len(order)) - np.searchsorted(category[order], category[order])
        kept = rank < MAX_DETECTIONS[-1]
        order = order[kept]
        return category[order], score[order], rank[kept].astype(np.int32), order

    def matches(self) -> Matches:
        """The matches of all images; each must have been given, also one without results."""
        if len(self._found) != len(self._images):
            raise ValueError(f"{len(self._found)} of {len(self._images)} images were matched")
        parts = [self._found[index] for index in sorted(self._found)]
        columns: dict[str, np.ndarray] = {
            field.name: np.concatenate(
                [getattr(part, field.name) for part in parts], axis=int(field.name == "by_boundary")
            )
            for field in dataclasses.fields(Matches)
            if field.name not in ("images", "categories")
        }
        return Matches(images=len(self._images), categories=len(self._categories), **columns)


def _outside(areas: Any) -> np.ndarray:
    """Which areas, (N,) in square pixels, lie outside each of the ranges: bool (N, A)."""
    area = np.asarray(areas, np.float64)[:, None]
    return (area < AREA_RANGES[:, 0]) | (area > AREA_RANGES[:, 1])


def _overlaps(
    detections: Sequence[dict[str, Any]],
    category: np.ndarray,
    truths: Sequence[dict[str, Any]],
    object_category: np.ndarray,
    crowd: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mask IoU, and the lesser of mask and Boundary IoU: float64 (D, G) each, -1 where the categories differ."""
    iou = np.full((len(detections), len(truths)), -1.0)
    smaller = iou.copy()
    for k in np.intersect1d(category, object_category):
        d, g = np.flatnonzero(category == k).tolist(), np.flatnonzero(object_category == k).tolist()
        found, wanted = [detections[i] for i in d], [truths[i] for i in g]
        block = np.asarray(mask_library().iou(found, wanted, crowd[g].astype(int).tolist()))
        iou[np.ix_(d, g)] = block
        smaller[np.ix_(d, g)] = boundary_iou(block, found, wanted, crowd[g], float(_REQUIRED[0]))
    return iou, smaller


def match(
    iou: np.ndarray, crowd: np.ndarray, object_ignored: np.ndarray, outside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give each detection the free object that it overlaps most, by falling score.

    An object that must be found goes before one that need not; of equal overlaps the last counts; a crowd is never
    used up. An ignored object makes its detection ignored, and so does an area outside the range for one that
    matches nothing.

    Args:
        iou: float64 (D, G), detections of each category by falling score, below every threshold between categories
        crowd: bool (G,); object_ignored: bool (G, A)
        outside: bool (D, A), the detection's own area is outside the range

    Gives matched and ignored, bool (D, A, T), and the IoU of the match at the first threshold and area range, (D,).
    """
    areas, thresholds = len(AREA_RANGES), len(_REQUIRED)
    matched = np.zeros((len(iou), areas, thresholds), bool)
    ignored = np.zeros_like(matched)
    matched_iou = np.full(len(iou), np.nan)
    free = np.ones((iou.shape[1], areas, thresholds), bool)
    near = iou >= _REQUIRED[0]
    for d in np.flatnonzero(near.any(axis=1)):
        candidates = np.flatnonzero(near[d])
        overlap = iou[d, candidates]
        if len(candidates) > 1:
            best_first = np.argsort(overlap, kind="stable")[::-1]
            candidates, overlap = candidates[best_first], overlap[best_first]
        possible = free[candidates] & (overlap[:, None] >= _REQUIRED)[:, None, :]
        needless = object_ignored[candidates][:, :, None]
        first = np.where(possible & ~needless, 2, possible).argmax(axis=0)
        chosen = candidates[first]
        has = possible.any(axis=0)
        matched[d] = has
        a, t = np.nonzero(has)
        ignored[d, a, t] = object_ignored[chosen[a, t], a]
        used = ~crowd[chosen[a, t]]
        free[chosen[a, t][used], a[used], t[used]] = False
        if has[0, 0]:
            matched_iou[d] = iou[d, chosen[0, 0]]
    ignored |= ~matched & outside[:, :, None]
    return matched, ignored, matched_iou
