"""Pictures of what a model got wrong in an image: the objects that it missed, the detections that are false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageEnhance

from bench.data.ids import Id
from bench.evaluation.diagnosis import SCORE
from bench.evaluation.matching import match_image
from reports.masks.drawing import RGB, Drawn, draw

MOST_PIXELS = 460
"""The longer side of an image as drawn, in pixels."""

RIGHT, WRONG_OBJECT, WRONG_DETECTION = 0, 1, 2
COLOURS: dict[Id, RGB] = {
    RIGHT: (0.34, 0.71, 0.91),
    WRONG_OBJECT: (1.0, 0.86, 0.15),
    WRONG_DETECTION: (0.90, 0.20, 0.10),
}
"""Sky blue marks what is right, yellow a missed object, red a false detection: the colour-blind can tell them apart."""


@dataclass(frozen=True)
class Faults:
    """The objects and the detections of one image: ``matched`` and ``true`` have a partner, the others have none."""

    matched: list[Drawn]
    missed: list[Drawn]
    true: list[Drawn]
    false: list[Drawn]


def sort_out(objects: Sequence[Drawn], crowds: Sequence[Drawn], predictions: Sequence[Drawn]) -> Faults:
    """Match the predictions with the objects at IoU 0.5, as the evaluation does; no mask is decoded.

    Detections under its score of 0.3 are left out, and so are those that lie in a crowd of their class.
    """
    confident = sorted((d for d in predictions if d.score >= SCORE), key=lambda d: -d.score)
    everything = [*objects, *crowds]
    # The matching takes no ids of a file, which may be texts.
    number: dict[Id, int] = {}
    for drawn in (*confident, *everything):
        number.setdefault(drawn.category_id, len(number))
    object_of = match_image(
        [detection.rle for detection in confident],
        [number[detection.category_id] for detection in confident],
        [item.rle for item in everything],
        [number[item.category_id] for item in everything],
        [False] * len(objects) + [True] * len(crowds),
    ).tolist()
    taken = set(object_of)
    return Faults(
        matched=[item for index, item in enumerate(objects) if index in taken],
        missed=[item for index, item in enumerate(objects) if index not in taken],
        true=[d for d, index in zip(confident, object_of, strict=True) if 0 <= index < len(objects)],
        false=[d for d, index in zip(confident, object_of, strict=True) if index < 0],
    )


def draw_faults(image: np.ndarray, faults: Faults) -> tuple[np.ndarray, np.ndarray]:
    """Draw the objects and, apart, the detections over the image: two uint8 RGB (H, W, 3) of its size."""
    # The photograph is nearly grey, so that a yellow thing is not taken for a missed one.
    small = np.asarray(ImageEnhance.Color(Image.fromarray(image)).enhance(0.25))
    truth = [*_coloured(faults.matched, RIGHT), *_coloured(faults.missed, WRONG_OBJECT)]
    predicted = [*_coloured(faults.true, RIGHT), *_coloured(faults.false, WRONG_DETECTION)]
    return draw(small, truth, COLOURS), draw(small, predicted, COLOURS)


def _coloured(masks: Sequence[Drawn], colour: int) -> list[Drawn]:
    """The masks with the number of a colour in the place of their category."""
    return [replace(drawn, category_id=colour) for drawn in masks]
