"""What a model got wrong in an image, drawn: objects that it missed, detections that are false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageEnhance
from pycocotools import mask as coco_mask

from reports.plots.masks import RGB, Drawn, draw

SCORE_THRESHOLD = 0.3
IOU_THRESHOLD = 0.5
"""As ``bench.schema.result.ImageFaults`` counts."""

MAX_SIDE = 460
"""Pixels of the longer side as drawn."""

RIGHT, WRONG_TRUTH, WRONG_FOUND = 0, 1, 2
COLOURS: dict[int, RGB] = {
    RIGHT: (0.34, 0.71, 0.91),
    WRONG_TRUTH: (1.0, 0.86, 0.15),
    WRONG_FOUND: (0.90, 0.20, 0.10),
}
"""Sky blue for what was found, yellow for missed objects, red for false detections: apart for the colour-blind too."""


@dataclass(frozen=True)
class Faults:
    """Objects of the ground truth and detections of one image, those that have a partner and those that have none."""

    found: list[Drawn]
    missed: list[Drawn]
    true: list[Drawn]
    false: list[Drawn]


def sort_out(truth: Sequence[Drawn], crowds: Sequence[Drawn], predictions: Sequence[Drawn]) -> Faults:
    """Match as pycocotools' ``evaluateImg``: by falling score, each takes the free object of its class with most IoU.

    Detections under :data:`SCORE_THRESHOLD` are left out, and so are those that lie in a crowd of their class.
    """
    confident = sorted((d for d in predictions if d.score >= SCORE_THRESHOLD), key=lambda d: -d.score)
    overlaps = _iou(confident, truth, crowd=False)
    in_crowds = _iou(confident, crowds, crowd=True)
    taken: set[int] = set()
    true, false = [], []
    for place, detection in enumerate(confident):
        free = [
            index
            for index, item in enumerate(truth)
            if index not in taken
            and item.category_id == detection.category_id
            and overlaps[place, index] >= IOU_THRESHOLD
        ]
        if free:
            taken.add(max(free, key=lambda index: overlaps[place, index]))
            true.append(detection)
        elif not any(
            crowd.category_id == detection.category_id and in_crowds[place, index] >= IOU_THRESHOLD
            for index, crowd in enumerate(crowds)
        ):
            false.append(detection)
    found = [item for index, item in enumerate(truth) if index in taken]
    missed = [item for index, item in enumerate(truth) if index not in taken]
    return Faults(found, missed, true, false)


def draw_faults(image: np.ndarray, faults: Faults) -> tuple[np.ndarray, np.ndarray]:
    """The ground truth and the predictions over the image, uint8 RGB, at most :data:`MAX_SIDE` pixels long."""
    height, width = image.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    # Nearly grey, so that a yellow thing is not taken for a missed one.
    small = np.asarray(ImageEnhance.Color(Image.fromarray(image).resize((size[1], size[0]))).enhance(0.25))
    truth = [*_coloured(faults.found, RIGHT, size), *_coloured(faults.missed, WRONG_TRUTH, size)]
    predicted = [*_coloured(faults.true, RIGHT, size), *_coloured(faults.false, WRONG_FOUND, size)]
    return draw(small, truth, COLOURS), draw(small, predicted, COLOURS)


def _iou(detections: Sequence[Drawn], objects: Sequence[Drawn], crowd: bool) -> np.ndarray:
    """Mask IoU, float (D, G); with a crowd the share of the detection that lies in it, as COCO has it."""
    if not detections or not objects:
        return np.zeros((len(detections), len(objects)))
    encoded = [
        [coco_mask.encode(np.asfortranarray(item.mask, dtype=np.uint8)) for item in items]
        for items in (detections, objects)
    ]
    return np.asarray(coco_mask.iou(encoded[0], encoded[1], [crowd] * len(objects)))


def _coloured(masks: Sequence[Drawn], colour: int, size: tuple[int, int]) -> list[Drawn]:
    """Resized to (height, width) by nearest neighbour, with the colour's number for a category."""
    resized = []
    for drawn in masks:
        rows, columns = (np.arange(n) * whole // n for n, whole in zip(size, drawn.shape, strict=True))
        resized.append(replace(drawn, mask=drawn.mask[np.ix_(rows, columns)], category_id=colour))
    return resized
