"""What a model gets wrong: TIDE's six types of error, the calibration of its scores, and its worst images.

The error types are those of Bolya et al. 2020, https://arxiv.org/abs/2008.08115: each is the AP50 that would be gained
if all errors of the type were mended. They follow from the matches, so that no mask is needed again. They equal
hotcoco's ``tide_errors``. Without crowds they also equal those of the authors' package ``tidecv``; with crowds they
differ a little, since ``tidecv`` may mend a detection that COCO ignores. The calibration equals hotcoco's too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.data.ids import Id
from bench.evaluation.average_precision import Ranking, average_precision
from bench.evaluation.matching import Matches, unpacked
from bench.files.bounds import LARGEST_INTEGER
from bench.schema.parts.accuracy import TIDE_ERRORS, Calibration, ImageFaults

SCORE = 0.3
"""Score from which on detections count in the list of images; nobody would show those below it."""

WORST = 12
"""How many images are listed of each kind."""

BINS = 10
"""Number of equal parts into which the calibration divides the scores from 0 to 1."""


def errors(matches: Matches) -> dict[str, float]:
    """Return the AP50 lost to each of :data:`TIDE_ERRORS`, the mean over the categories that have objects."""
    wanted = ~matches.object_ignored[:, 0]
    positives = np.bincount(matches.object_category[wanted], minlength=matches.categories)
    missed = np.bincount(matches.object_category[matches.object_missed], minlength=matches.categories)
    hit, ignored = _at_50(matches)
    everything = np.arange(len(hit))

    def ap(rows: np.ndarray, category: np.ndarray, true: np.ndarray, positives: np.ndarray) -> np.ndarray:
        return np.array(
            [
                _ap(rows[category[rows] == k], matches.score, true, ignored, positives[k])
                for k in range(matches.categories)
            ]
        )

    measured = ap(everything, matches.category, hit, positives)
    mended = {"missed": ap(everything, matches.category, hit, positives - missed)}
    for kind, name in enumerate(TIDE_ERRORS[:-1]):
        faulty = matches.error == kind
        true = faulty & (matches.mended >= 0)
        category = np.where(true, matches.mended, matches.category)
        # Among equal scores, a detection that comes from another category stands last.
        moved = category != matches.category
        rows = np.concatenate([np.flatnonzero(~moved & (true | ~faulty)), np.flatnonzero(moved)])
        mended[name] = ap(rows, category, hit | true, positives)
    some = positives > 0
    return {name: float((mended[name] - measured)[some].mean()) if some.any() else 0.0 for name in TIDE_ERRORS}


def _ap(rows: np.ndarray, score: np.ndarray, true: np.ndarray, ignored: np.ndarray, positives: int) -> float:
    """Return the AP of one category from its detections (indices ``rows``), 0 where it has no object."""
    if not positives or not len(rows):
        return 0.0
    rows = rows[np.argsort(-score[rows], kind="stable")]
    one_image = np.zeros(len(rows), np.intp)
    ranking = Ranking(one_image, true[rows, None], ignored[rows, None], np.array([float(positives)]))
    return float(average_precision(ranking, np.ones((1, 1)))[0, 0])


def _at_50(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """Say which detections are true positives at IoU 0.5 in all areas, and which are ignored there: bool (D,) each."""
    ignored = unpacked(matches.ignored[:, 0])[:, 0]
    return unpacked(matches.matched[:, 0])[:, 0] & ~ignored, ignored


def are_probabilities(score: np.ndarray) -> bool:
    """Say whether all scores (N,) lie from 0 to 1 but for rounding; a predicted mask IoU may lift them above 1."""
    return bool(((score >= 0) & (score <= 1 + 1e-6)).all())


def calibration(matches: Matches) -> Calibration | None:
    """Compare the scores with the share of true positives at IoU 0.5.

    None where there is no detection, or where a score is no probability.
    """
    hit, ignored = _at_50(matches)
    hit, score = hit[~ignored], matches.score[~ignored]
    if not len(score) or not are_probabilities(score):
        return None
    part = np.clip((score * BINS).astype(np.intp), 0, BINS - 1)
    count = np.bincount(part, minlength=BINS)
    some = np.maximum(count, 1)
    mean_score = np.bincount(part, score, minlength=BINS) / some
    precision = np.bincount(part, hit, minlength=BINS) / some

    def filled(values: np.ndarray) -> list[float | None]:
        return [float(value) if number else None for value, number in zip(values, count, strict=True)]

    return Calibration(
        expected_error=float((count / len(score) * np.abs(precision - mean_score)).sum()),
        edges=[n / BINS for n in range(BINS + 1)],
        mean_score=filled(mean_score),
        precision=filled(precision),
        detections=count.tolist(),
    )


def worst_images(matches: Matches, image_ids: Sequence[Id]) -> dict[str, list[ImageFaults]]:
    """List the images with most objects ``missed``, most ``false`` detections, and the worst ``masks`` (mean IoU).

    A detection counts from score 0.3 on and is true from IoU 0.5 on. The worst image stands first; images without a
    fault of the kind are left out.
    """
    faults = image_faults(matches, image_ids)
    kinds: dict[str, Callable[[ImageFaults], float]] = {
        "missed": lambda f: f.missed,
        "false": lambda f: f.false,
        "masks": lambda f: 0.0 if f.mean_iou is None else 1 - f.mean_iou,
    }
    return {
        kind: sorted((f for f in faults if badness(f) > 0), key=badness, reverse=True)[:WORST]
        for kind, badness in kinds.items()
    }


def image_faults(matches: Matches, image_ids: Sequence[Id]) -> list[ImageFaults]:
    """Return the faults of every image; ``image_ids`` stand in the order of the data set's images.

    An object is not missed where its detection is among those that the limit of detections has removed.
    """
    hit, ignored = _at_50(matches)
    counted = (matches.score >= SCORE) & ~ignored
    hit &= counted

    def in_each(which: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(which, weights, minlength=matches.images)

    hits = in_each(matches.image[hit])
    to_be_found = ~matches.object_ignored[:, 0] & ~(matches.object_cut >= SCORE)
    missed = in_each(matches.object_image[to_be_found]) - hits
    false = in_each(matches.image[counted & ~hit])
    overlap = in_each(matches.image[hit], matches.iou[hit])
    return [
        ImageFaults(_stored(image_id), int(missed[i]), int(false[i]), float(overlap[i] / hits[i]) if hits[i] else None)
        for i, image_id in enumerate(image_ids)
    ]


def _stored(image_id: Id) -> Id:
    """Give an id as a stored file may hold it: a whole number that is larger than any column's becomes a text."""
    return str(image_id) if isinstance(image_id, int) and abs(image_id) > LARGEST_INTEGER else image_id
