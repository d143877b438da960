"""What a model gets wrong: TIDE's six types of error, how far its scores can be believed, its worst images.

The error types are those of Bolya et al. 2020, https://arxiv.org/abs/2008.08115: each is the AP50 that would be won if
all errors of the type were mended. hotcoco computes them, and the calibration; without crowds its figures equal the
authors' package ``tidecv``, with crowds they differ a little, since ``tidecv`` may mend a detection that COCO ignores.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.dataset import CocoDataset
from bench.matching import Matches
from bench.result import TIDE_ERRORS, Calibration, ImageFaults

SCORE = 0.3
"""Detections below it count for no image: a model gives many of them and nobody would show them."""
WORST = 12
"""Images listed of each kind."""

_HOTCOCO_NAMES = dict(zip(TIDE_ERRORS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))


def explain(dataset: CocoDataset, predictions: Path) -> tuple[dict[str, float] | None, Calibration | None]:
    """AP50 lost to each of :data:`TIDE_ERRORS`, and the calibration, of a COCO results file.

    None for both where the environment has no hotcoco, and for the second where there is no detection.
    """
    if importlib.util.find_spec("hotcoco") is None:
        return None, None
    from hotcoco import COCO, COCOeval

    truth = COCO(dataset.ground_truth())
    evaluation = COCOeval(truth, truth.load_res(str(predictions)), "segm")
    evaluation.evaluate()
    lost = evaluation.tide_errors()["delta_ap"]
    errors = {name: float(lost[short]) for name, short in _HOTCOCO_NAMES.items()}
    return errors, _calibration(evaluation.calibration())


def _calibration(found: dict[str, Any]) -> Calibration | None:
    bins = found["bins"]
    if not found["num_detections"]:
        return None

    def filled(key: str) -> list[float | None]:
        return [float(b[key]) if b["count"] else None for b in bins]

    return Calibration(
        expected_error=float(found["ece"]),
        edges=[float(b["bin_lower"]) for b in bins] + [float(bins[-1]["bin_upper"])],
        mean_score=filled("avg_confidence"),
        precision=filled("avg_accuracy"),
        detections=[int(b["count"]) for b in bins],
    )


def worst_images(matches: Matches, image_ids: Sequence[int]) -> dict[str, list[ImageFaults]]:
    """The images with most things ``missed``, most ``false`` detections, and the worst ``masks`` (lowest mean IoU).

    At IoU 0.5 and score 0.3, the worst first, images without a fault of the kind left out.
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


def image_faults(matches: Matches, image_ids: Sequence[int]) -> list[ImageFaults]:
    """The faults of every image; ``image_ids`` by rising id."""
    counted = (matches.score >= SCORE) & ~matches.ignored[:, 0, 0]
    hit = counted & matches.matched[:, 0, 0]

    def in_each(which: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(which, weights, minlength=matches.images)

    hits = in_each(matches.image[hit])
    missed = in_each(matches.object_image[~matches.object_ignored[:, 0]]) - hits
    false = in_each(matches.image[counted & ~hit])
    overlap = in_each(matches.image[hit], matches.iou[hit])
    return [
        ImageFaults(image_id, int(missed[i]), int(false[i]), float(overlap[i] / hits[i]) if hits[i] else None)
        for i, image_id in enumerate(image_ids)
    ]
