"""TIDE's types of error: what kind of mistake each false positive is, image by image.

The types are those of Bolya et al. 2020, https://arxiv.org/abs/2008.08115. :mod:`bench.evaluation.diagnosis` says what
each type costs in AP.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.schema.parts.accuracy import TIDE_ERRORS

FOREGROUND, BACKGROUND = 0.5, 0.1
"""IoU from which on a detection lies on an object, and IoU up to which it lies on background."""

NO_ERROR = len(TIDE_ERRORS)
"""What stands in place of an index into :data:`TIDE_ERRORS` where there is no error."""

CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, FALSE = range(5)
assert TIDE_ERRORS[:5] == ("classification", "localization", "both", "duplicate", "background")


class Errors(NamedTuple):
    """The errors in one image of D detections and G objects.

    kind:   uint8 (D,), index into :data:`TIDE_ERRORS`, :data:`NO_ERROR` for a true or ignored detection
    mended: int32 (D,), the category in which the detection becomes a true positive when its error is mended; -1 where
        mending removes the detection
    missed: bool (G,), the object is matched by no detection, and by none that was mended
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

    Where several detections could be mended to match one object, only the one of the highest score is (of equal scores
    the first in the results); mending removes the others.

    Args:
        iou: mask IoU, float64 (D, G), between different categories too
        score: float64 (D,)
        place: int (D,), the index of the detection in the results
        category: int32 (D,), of the detection
        object_category: int32 (G,)
        crowd: bool (G,); a crowd counts only for detections of its own category
        false: bool (D,), the false positives at :data:`FOREGROUND`
        used: bool (G,), the objects that a detection matches
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
    """Return the kind of error of each of F false positives, int (F,), and the object that it was meant for, int (F,).

    The object means nothing where the kind is neither :data:`CLASSIFICATION` nor :data:`LOCALIZATION`.
    """
    # Where objects overlap a detection equally, it was meant for the first of them by category, for a crowd last.
    column = np.lexsort((crowd, object_category))
    same = category[:, None] == object_category[column]
    overlap = iou[:, column]
    own, other = np.where(same, overlap, 0), np.where(same | crowd[column], 0, overlap)
    most_own, most_other = own.max(axis=1), other.max(axis=1)
    on_background, on_another = most_other <= BACKGROUND, most_other >= FOREGROUND
    duplicate = ((own >= FOREGROUND) & used[column]).any(axis=1)
    kinds = np.select([on_another, duplicate, on_background], [CLASSIFICATION, DUPLICATE, FALSE], BOTH)
    kinds[(most_own >= BACKGROUND) & (most_own <= FOREGROUND)] = LOCALIZATION
    return kinds, column[np.where(kinds == LOCALIZATION, own.argmax(axis=1), other.argmax(axis=1))]
