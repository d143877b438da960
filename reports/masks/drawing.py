"""Masks drawn over a photograph. They stay RLE until then, and are scaled to the drawing one at a time."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.ids import Id
from reports.masks.runs import mask_area, mask_at

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Drawn:
    """One mask to draw, of a whole image, as COCO's compressed RLE; ``score`` is 1 for ground truth."""

    rle: dict[str, Any]
    category_id: Id
    score: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """The height and the width of the image in pixels."""
        height, width = self.rle["size"]
        return height, width

    @property
    def area(self) -> int:
        """The number of pixels of the mask, which is not decoded for it."""
        return mask_area(self.rle)

    def at(self, height: int, width: int) -> np.ndarray:
        """The mask at ``height`` x ``width``, bool (H, W); see :func:`mask_at`."""
        return mask_at(self.rle, height, width)


def class_colour(place: int) -> RGB:
    """A vivid colour for the class at this place; neighbours lie a golden ratio apart on the circle of hues."""
    return colorsys.hsv_to_rgb((0.08 + place * 0.61803398875) % 1.0, 0.95 - 0.25 * (place // 5 % 2), 1.0)


def draw(image: np.ndarray, masks: Sequence[Drawn], colours: Mapping[Id, RGB]) -> np.ndarray:
    """The image with the masks over it, uint8 RGB (H, W, 3); masks of another size are scaled to the image.

    Large masks are drawn first, so that none is hidden. What was scaled down to less than a contour grows by a pixel on
    each side, so that it is seen.
    """
    canvas = image.astype(np.float32)
    width = max(1, round(max(image.shape[:2]) / 300))
    for drawn in sorted(masks, key=lambda drawn: -drawn.area):
        colour = 255 * np.asarray(colours.get(drawn.category_id, (1.0, 1.0, 1.0)), dtype=np.float32)
        mask, box = _in_box(drawn.at(*image.shape[:2]))
        if drawn.shape != image.shape[:2] and 0 < min(mask.shape) < width:
            mask, box = _grown(mask, box, image.shape[:2])
        part = canvas[box]
        part[mask] = 0.5 * part[mask] + 0.5 * colour
        inner = _eroded(mask, width)
        part[mask & ~inner] = colour
        part[inner & ~_eroded(inner, max(1, width // 2))] = 255
    return canvas.round().astype(np.uint8)


Box = tuple[slice, slice]
"""The rows and the columns of a part of the drawing."""


def _in_box(mask: np.ndarray) -> tuple[np.ndarray, Box]:
    """The part of the mask that has its pixels, and where that part is."""
    sides = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    rows, columns = (slice(side[0], side[-1] + 1) if len(side) else slice(0) for side in sides)
    return mask[rows, columns], (rows, columns)


def _grown(mask: np.ndarray, box: Box, shape: tuple[int, ...]) -> tuple[np.ndarray, Box]:
    """The mask with a pixel more on each side, inside of a drawing of this shape."""
    far = np.pad(mask, 2)
    near = far[1:-1, 1:-1]
    grown = near | far[:-2, 1:-1] | far[2:, 1:-1] | far[1:-1, :-2] | far[1:-1, 2:]
    (top, bottom), (left, right) = ((max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(box, shape, strict=False))
    row, column = top - box[0].start + 1, left - box[1].start + 1
    inside = grown[row : row + bottom - top, column : column + right - left]
    return inside, (slice(top, bottom), slice(left, right))


def _eroded(mask: np.ndarray, steps: int) -> np.ndarray:
    """The mask without its outermost pixels; the border of the image counts as outside."""
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask
