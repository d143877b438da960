"""COCO's matching of detections with objects, image by image, in a form from which AP and its diagnosis follow.

The rules are those of pycocotools' ``COCOeval.evaluateImg``, at all IoU thresholds and area ranges at once. The
published figures do not come from here; :mod:`bench.evaluation.evaluators` says why there are two engines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.coco_json import mask_library, to_rle
from bench.data.dataset import CocoDataset
from bench.data.ids import Id
from bench.evaluation.boundary import boundary_iou
from bench.evaluation.lvis import Counted, within_limit
from bench.evaluation.tide import FOREGROUND, classify

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREA_RANGES = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""All, small, medium, large: square pixels, both ends inclusive."""

COCO_MAX_DETECTIONS = 100
"""How many detections of one image and category count by COCO's rules, by falling score."""

_REQUIRED = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)  # pycocotools' own guard against an IoU just below 1

_A = len(AREA_RANGES)
_DETECTION = np.dtype(
    [
        ("image", np.int32),
        ("category", np.int32),
        ("score", np.float64),
        ("matched", np.uint16, _A),
        ("ignored", np.uint16, _A),
        ("by_boundary", np.uint16, (2, _A)),
        ("iou", np.float64),
        ("error", np.uint8),
        ("mended", np.int32),
    ]
)
_OBJECT = np.dtype(
    [
        ("image", np.int32),
        ("category", np.int32),
        ("ignored", np.bool_, _A),
        ("missed", np.bool_),
        ("cut", np.float64),
    ]
)


@dataclass(frozen=True)
class Matches:
    """The matches of a data set: D detections, G objects, A area ranges, T IoU thresholds.

    images, categories: how many there are
    category, image: int32 (D,), indices into the data set's categories and images, both by rising id
    score:           float64 (D,)
    matched:         uint16 (D, A), a bit for each threshold (see :func:`packed`): the detection has an object
    ignored:         uint16 (D, A), likewise: the detection counts neither as true nor as false
    by_boundary:     uint16 (2, D, A), ``matched`` and ``ignored`` by Boundary IoU
    iou:             float64 (D,), mask IoU with the object that it matches at IoU 0.5 among all areas, else NaN
    error, mended:   uint8 (D,), int32 (D,), see :class:`bench.evaluation.tide.Errors`
    object_category, object_image: int32 (G,)
    object_ignored:  bool (G, A), the object need not be detected: it is a crowd, or outside the area range
    object_missed:   bool (G,), see :class:`bench.evaluation.tide.Errors`; False where ``object_cut`` is a score
    object_cut:      float64 (G,), for an object that no detection here matches: the score of the detection of its
                     category that does, and that the limit of detections has removed; NaN for none
    alike:           how many pairs of a detection and an object overlap by :data:`bench.evaluation.tide.FOREGROUND`
                     and are of one category, crowds left out
    alike_if:        int64 (S,), how many such pairs there would be under each other reading of the categories

    Detections stand by image, then by category, then by falling score, at most ``max_detections`` of one image and
    category.
    """

    images: int
    categories: int
    category: np.ndarray
    image: np.ndarray
    score: np.ndarray
    matched: np.ndarray
    ignored: np.ndarray
    by_boundary: np.ndarray
    iou: np.ndarray
    error: np.ndarray
    mended: np.ndarray
    object_category: np.ndarray
    object_image: np.ndarray
    object_ignored: np.ndarray
    object_missed: np.ndarray
    object_cut: np.ndarray
    alike: int
    alike_if: np.ndarray

    def boundaries(self) -> Matches:
        """Return the same detections with their matches by Boundary IoU in place of those by mask IoU."""
        return dataclasses.replace(self, matched=self.by_boundary[0], ignored=self.by_boundary[1])


class Matcher:
    """Matches images as they come. It keeps no masks, but 61 bytes a detection and 21 bytes an object."""

    def __init__(
        self,
        dataset: CocoDataset,
        max_detections: int = COCO_MAX_DETECTIONS,
        readings: Sequence[Mapping[Id, Id]] = (),
        *,
        boundary: bool = True,
        errors: bool = True,
    ) -> None:
        """Prepare the matching of a data set.

        Args:
            max_detections: how many detections of one image and category count, by falling score
            readings: other readings of the categories of results, such as each as the next one, for ``alike_if``
            boundary: whether to match by Boundary IoU too; else nothing matches in ``by_boundary``
            errors: whether to say what is wrong with each false positive; else nothing is in ``error``, ``mended`` and
                ``object_missed``
        """
        self._boundary, self._errors = boundary, errors
        self._images = {image.id: (index, image.height, image.width) for index, image in enumerate(dataset.images)}
        self._categories = {category.id: index for index, category in enumerate(dataset.categories)}
        self._annotations = dataset.annotations_by_image()
        self._max_detections = max_detections
        self._counted = None if dataset.federation is None else Counted(dataset)
        index = self._categories
        self._readings = np.array([[index.get(r.get(k), -1) for k in index] for r in readings], np.int32)  # type: ignore[arg-type]
        self._readings.shape = (len(readings), len(index))
        self._alike, self._alike_if = 0, np.zeros(len(readings), np.int64)
        self._seen = np.zeros(len(self._images), bool)
        self._detections, self._objects = bytearray(), bytearray()

    def update(self, image_id: Id, results: Sequence[dict[str, Any]]) -> None:
        """Take the COCO results of one image; images may come in any order, each once."""
        index, height, width = self._images[image_id]
        annotations = self._annotations.get(image_id, [])
        object_category = np.array([self._categories[a["category_id"]] for a in annotations], np.int32)
        counted, lenient = self._counted.categories(image_id, object_category) if self._counted else (None, None)
        category, score, order, cut = self._ranked(results, counted)
        detections = [results[i]["segmentation"] for i in order.tolist()]
        truths = [to_rle(a["segmentation"], height, width) for a in annotations]
        crowd = np.array([bool(a["iscrowd"]) for a in annotations], bool)
        object_ignored = crowd[:, None] | _outside([a["area"] for a in annotations])
        outside = _outside(mask_library().area(detections) if detections else [])
        if lenient is not None:  # LVIS treats what matches nothing as if it were of another size than every range
            outside |= lenient[category][:, None]
        iou = _mask_iou(detections, truths, crowd)
        within = np.where(category[:, None] == object_category, iou, -1.0)
        matched, ignored, first = match(within, crowd, object_ignored, outside)
        used = np.zeros(len(truths), bool)
        used[first[first >= 0]] = True
        false = ~(matched | ignored)[:, 0, 0] if self._errors else np.zeros(len(order), bool)
        errors = classify(iou, score, order, category, object_category, crowd, false, used)
        self._count_alike(iou, crowd, category, object_category)

        records = np.empty(len(order), _DETECTION)
        records["image"], records["category"], records["score"] = index, category, score
        records["matched"], records["ignored"] = packed(matched), packed(ignored)
        records["by_boundary"] = 0
        if self._boundary:
            smaller = boundary_iou(within, detections, truths, crowd, float(_REQUIRED[0]))
            records["by_boundary"] = packed(np.stack(match(smaller, crowd, object_ignored, outside)[:2], axis=1))
        records["iou"] = np.where(first >= 0, iou[np.arange(len(order)), first], np.nan) if truths else np.nan
        records["error"], records["mended"] = errors.kind, errors.mended
        objects = np.empty(len(truths), _OBJECT)
        objects["image"], objects["category"], objects["ignored"] = index, object_category, object_ignored
        objects["cut"] = self._cut([results[i] for i in cut.tolist()], truths, object_category, ~used & ~crowd)
        objects["missed"] = errors.missed & np.isnan(objects["cut"]) & self._errors
        self._detections += records.tobytes()
        self._objects += objects.tobytes()
        self._seen[index] = True

    def _ranked(
        self, results: Sequence[dict[str, Any]], counted: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return category, score and index in ``results`` of the detections that count, sorted by the first two.

        Then come the indices of those beyond the limit, in the same order.

        counted: bool (categories,), of an image of LVIS: detections of the others are left out, and the limit is of the
            whole image
        """
        category = np.array([self._categories[result["category_id"]] for result in results], np.int32)
        score = np.array([result["score"] for result in results], np.float64)
        order = np.lexsort((-score, category))
        if counted is None:
            rank = np.arange(len(order)) - np.searchsorted(category[order], category[order])
            within = rank < self._max_detections
        else:
            within = within_limit(score, self._max_detections)[order]
            within, order = within[counted[category[order]]], order[counted[category[order]]]
        cut, order = order[~within], order[within]
        return category[order], score[order], order, cut

    def _cut(
        self,
        results: Sequence[dict[str, Any]],
        truths: Sequence[dict[str, Any]],
        object_category: np.ndarray,
        free: np.ndarray,
    ) -> np.ndarray:
        """Give the ``object_cut`` of the objects of an image, float64 (G,).

        Args:
            results: the detections beyond the limit, by category and then by falling score
            truths: masks of the G objects as compressed RLE
            free: bool (G,), objects that are no crowd, and that no detection within the limit matches
        """
        scores = np.full(len(truths), np.nan)
        left = np.flatnonzero(free)
        if not results or not len(left):
            return scores
        category = np.array([self._categories[result["category_id"]] for result in results], np.int32)
        none, anywhere = np.zeros(len(left), bool), np.zeros((len(results), _A), bool)
        iou = _mask_iou([result["segmentation"] for result in results], [truths[g] for g in left.tolist()], none)
        within = np.where(category[:, None] == object_category[left], iou, -1.0)
        first = match(within, none, np.zeros((len(left), _A), bool), anywhere)[2]
        for result, place in zip(results, first, strict=True):
            if place >= 0:
                scores[left[place]] = result["score"]
        return scores

    def _count_alike(
        self, iou: np.ndarray, crowd: np.ndarray, category: np.ndarray, object_category: np.ndarray
    ) -> None:
        """Count the pairs of ``alike`` and ``alike_if``."""
        if not len(self._readings) or not iou.size:
            return
        detection, object_ = np.nonzero((iou >= FOREGROUND) & ~crowd)
        of_detection, of_object = category[detection], object_category[object_]
        self._alike += int(np.count_nonzero(of_detection == of_object))
        self._alike_if += np.count_nonzero(self._readings[:, of_detection] == of_object, axis=1)

    def matches(self) -> Matches:
        """Return the matches of all images; each must have been given, also one without results."""
        if not self._seen.all():
            raise ValueError(f"{np.count_nonzero(self._seen)} of {len(self._seen)} images were matched")
        detections = _by_image(np.frombuffer(self._detections, _DETECTION))
        objects = _by_image(np.frombuffer(self._objects, _OBJECT))
        columns = {name: detections[name] for name in _DETECTION.names or () if name != "by_boundary"}
        return Matches(
            images=len(self._images),
            categories=len(self._categories),
            by_boundary=np.moveaxis(detections["by_boundary"], 1, 0),
            alike=self._alike,
            alike_if=self._alike_if,
            **columns,
            **{f"object_{name}": objects[name] for name in _OBJECT.names or ()},
        )


def _by_image(records: np.ndarray) -> np.ndarray:
    image = records["image"]
    return records if (image[1:] >= image[:-1]).all() else records[np.argsort(image, kind="stable")]


def packed(reached: np.ndarray) -> np.ndarray:
    """Pack a bit for each IoU threshold, the lowest threshold in the lowest bit: bool (..., T) to uint16 (...)."""
    return np.packbits(reached, axis=-1, bitorder="little").view("<u2")[..., 0]


def unpacked(bits: np.ndarray) -> np.ndarray:
    """Reverse :func:`packed`: uint16 (...) to bool (..., T)."""
    octets = np.ascontiguousarray(bits, "<u2")[..., None].view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=len(IOU_THRESHOLDS), bitorder="little").view(np.bool_)


def _outside(areas: Any) -> np.ndarray:
    """Say which of N areas, in square pixels, lie outside of each range: bool (N, A)."""
    area = np.asarray(areas, np.float64)[:, None]
    return (area < AREA_RANGES[:, 0]) | (area > AREA_RANGES[:, 1])


def _mask_iou(detections: Sequence[dict[str, Any]], truths: Sequence[dict[str, Any]], crowd: np.ndarray) -> np.ndarray:
    """Return the mask IoU of all pairs, float64 (D, G); with a crowd, the share of the detection that lies in it."""
    if not detections or not truths:
        return np.zeros((len(detections), len(truths)))
    return np.asarray(mask_library().iou(detections, truths, crowd.astype(int).tolist()))


def match(
    iou: np.ndarray, crowd: np.ndarray, object_ignored: np.ndarray, outside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give each detection the free object that it overlaps most, by falling score.

    An object that must be detected goes before one that need not. Of equal overlaps the last object counts. A crowd
    may be taken by any number of detections. A detection is ignored where its object is, and where it has no object
    and its own area is outside the range.

    Args:
        iou: float64 (D, G), detections of each category by falling score, below every threshold between categories
        crowd: bool (G,)
        object_ignored: bool (G, A), the object need not be detected
        outside: bool (D, A), the detection's own area is outside the range

    Returns:
        ``matched`` and ``ignored``, bool (D, A, T), and the object matched at the first threshold and area range, int
        (D,), -1 where there is none.
    """
    areas, thresholds = len(AREA_RANGES), len(_REQUIRED)
    matched = np.zeros((len(iou), areas, thresholds), bool)
    ignored = np.zeros_like(matched)
    object_of = np.full(len(iou), -1)
    free = np.ones((iou.shape[1], areas, thresholds), bool)
    near = iou >= _REQUIRED[0]
    for d in np.flatnonzero(near.any(axis=1)):
        candidates = np.flatnonzero(near[d])
        take = _take_only if len(candidates) == 1 else _take_best
        matched[d], ignored[d], object_of[d] = take(candidates, iou[d, candidates], free, crowd, object_ignored)
    ignored |= ~matched & outside[:, :, None]
    return matched, ignored, object_of


def _take_only(
    candidates: np.ndarray, overlap: np.ndarray, free: np.ndarray, crowd: np.ndarray, object_ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Do as :func:`_take_best` for a single candidate, by far the most frequent case."""
    g = candidates[0]
    has = free[g] & (overlap[0] >= _REQUIRED)
    if not crowd[g]:
        free[g] &= ~has
    return has, has & object_ignored[g, :, None], int(g) if has[0, 0] else -1


def _take_best(
    candidates: np.ndarray, overlap: np.ndarray, free: np.ndarray, crowd: np.ndarray, object_ignored: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Take the best free object for one detection, in each area range and at each threshold.

    Args:
        candidates: int (C,), the objects that it overlaps enough for the lowest threshold
        overlap: float64 (C,), how much it overlaps them
        free: bool (G, A, T), the objects that no earlier detection has taken; those taken now are removed
        crowd: bool (G,)
        object_ignored: bool (G, A)

    Returns:
        Whether there is an object for it, and whether that makes it ignored, bool (A, T) each; and the object at the
        first threshold and area range, -1 where there is none.
    """
    best_first = np.argsort(overlap, kind="stable")[::-1]
    candidates, overlap = candidates[best_first], overlap[best_first]
    possible = free[candidates] & (overlap[:, None] >= _REQUIRED)[:, None, :]
    optional = object_ignored[candidates][:, :, None]
    chosen = candidates[np.where(possible & ~optional, 2, possible).argmax(axis=0)]
    has = possible.any(axis=0)
    ignored = np.zeros_like(has)
    a, t = np.nonzero(has)
    g = chosen[a, t]
    ignored[a, t] = object_ignored[g, a]
    used = ~crowd[g]
    free[g[used], a[used], t[used]] = False
    return has, ignored, int(chosen[0, 0]) if has[0, 0] else -1
