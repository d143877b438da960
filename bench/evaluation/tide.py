"""TIDE's types of error: what kind of mistake each false positive is, image by image.

Bolya et al. 2020, https://arxiv.org/abs/2008.08115. What each type costs in AP is in :mod:`bench.evaluation.diagnosis`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.schema.result import TIDE_ERRORS

FOREGROUND, BACKGROUND = 0.5, 0.1
"""IoU from which a detection lies on an object, and up to which it lies on nothing."""

NO_ERROR = len(TIDE_ERRORS)
"""Stands for no error where an index into :data:`TIDE_ERRORS` would stand."""

CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, FALSE = range(5)
assert TIDE_ERRORS[:5] == ("classification", "localization", "both", "duplicate", "background")


class Errors(NamedTuple):
    """The errors in one image of D detections and G objects.

    kind:   uint8 (D,), index into :data:`TIDE_ERRORS`, :data:`NO_ERROR` for a true or ignored detection
    mended: int32 (D,), the category in which the detection would be a true positive were its error mended; -1 where it
        would be no detection at all
    missed: bool (G,), no detection matches the object, nor would any that were mended
    """

    kind: np.ndarray
    mended: np.ndarray
    missed: np.ndarray


def classify(
    iou: np.ndarray,
    score: np.ndarray,
    place: np.ndarray,
    category: np.ndarray,
    object_category: np.ndarray,
    crowd: np.ndarray,
    false: np.ndarray,
    used: np.ndarray,
) -> Errors:
    """Say what is wrong with each false positive of an image.

    Where several could be mended to find one object, only that of the highest score is, of equals the first in the
    results; the others would go.

    Args:
        iou: mask IoU, float64 (D, G), between different categories too
        score: float64 (D,); place: int (D,), in the results; category: int32 (D,); object_category: int32 (G,)
        crowd: bool (G,); never of the other category that a detection is taken for
        false: bool (D,), false positives at :data:`FOREGROUND`
        used: bool (G,), matched by a detection
    """
    kind = np.full(len(iou), NO_ERROR, np.uint8)
    mended = np.full(len(iou), -1, np.int32)
    missed = ~used & ~crowd
    which = np.flatnonzero(false)
    if not iou.shape[1] or not len(which):
        kind[which] = FALSE
        return Errors(kind, mended, missed)
    kind[which], target = _kinds(iou[which], category[which], object_category, crowd, used)
    can_be_mended = (kind[which] <= LOCALIZATION) & ~used[target]
    mendable = which[can_be_mended]
    for d in np.flatnonzero(can_be_mended)[np.lexsort((place[mendable], -score[mendable]))]:
        if missed[target[d]]:
            missed[target[d]] = False
            mended[which[d]] = object_category[target[d]]
    return Errors(kind, mended, missed)


def _kinds(
    iou: np.ndarray, category: np.ndarray, object_category: np.ndarray, crowd: np.ndarray, used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give the kind of each of F false positives, int (F,), and the object that it was meant for, int (F,).

    The object means nothing where the kind is neither :data:`CLASSIFICATION` nor :data:`LOCALIZATION`.
    """
    # Of objects that overlap alike it is the first by category that a detection was meant for, a crowd last.
    column = np.lexsort((crowd, object_category))
    same = category[:, None] == object_category[column]
    overlap = iou[:, column]
    own, other = np.where(same, overlap, 0), np.where(same | crowd[column], 0, overlap)
    most_own, most_other = own.max(axis=1), other.max(axis=1)
    on_background, on_another = most_other <= BACKGROUND, most_other >= FOREGROUND
    doubled = ((own >= FOREGROUND) & used[column]).any(axis=1)
    kinds = np.select([on_another, doubled, on_background], [CLASSIFICATION, DUPLICATE, FALSE], BOTH)
    kinds[(most_own >= BACKGROUND) & (most_own <= FOREGROUND)] = LOCALIZATION
    return kinds, column[np.where(kinds == LOCALIZATION, own.argmax(axis=1), other.argmax(axis=1))]
