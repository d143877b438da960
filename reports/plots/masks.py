"""The masks of a few images: reading their predictions without loading the rest, and drawing masks over a photograph.

Masks stay RLE until they are drawn, and are decoded one at a time.
"""

from __future__ import annotations

import colorsys
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.bounds import MAX_PIXELS, is_id, is_integer, is_number
from bench.data.coco_json import mask_library, rle_counts, segmentation_problem, to_rle

MAX_LINE = 1 << 26
"""The longest line of a file of predictions, in characters; a results file may be a single line."""

RGB = tuple[float, float, float]
_IMAGE_ID = re.compile(r'"image_id":\s*(\d+)')
_DECODER = json.JSONDecoder()
_DETECTION_KEYS = ("image_id", "category_id", "score", "segmentation")


@dataclass(frozen=True)
class Drawn:
    """One mask to draw, of a whole image, as COCO's compressed RLE; ``score`` is 1 for ground truth."""

    rle: dict[str, Any]
    category_id: int
    score: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """The height and the width of the image in pixels."""
        height, width = self.rle["size"]
        return height, width

    @property
    def area(self) -> int:
        """The number of pixels of the mask, which is not decoded for it."""
        return int(rle_counts(self.rle["counts"])[1::2].sum())

    def decoded(self, height: int, width: int) -> np.ndarray:
        """The mask scaled to ``height`` x ``width`` by nearest neighbour, bool (H, W)."""
        mask = np.asarray(mask_library().decode(self.rle), dtype=bool)
        if mask.shape == (height, width):
            return mask
        rows, columns = (np.arange(n) * whole // n for n, whole in zip((height, width), mask.shape, strict=True))
        return mask[np.ix_(rows, columns)]


def read_predictions(path: Path, image_ids: Sequence[int]) -> dict[int, list[Drawn]] | str:
    """The predictions of some images, or why there are none.

    The file is read line by line, so that one of gigabytes is no burden, and a last line that a kill cut off is no
    error. It may be of anybody: a detection that is none is left out.
    """
    wanted = {str(image_id): image_id for image_id in image_ids}
    predictions: dict[int, list[Drawn]] = {}
    if not path.is_file():
        return "no predictions file"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in iter(functools.partial(file.readline, MAX_LINE), ""):
                if len(line) == MAX_LINE:
                    return "the predictions file has a line of more than 64 MB"
                if not any(number in wanted for number in _IMAGE_ID.findall(line)):
                    continue
                for detection in _objects(line):
                    drawn = _detection(detection)
                    if drawn is not None and str(detection["image_id"]) in wanted:
                        predictions.setdefault(detection["image_id"], []).append(drawn)
    except OSError:
        return "no predictions file"
    return predictions


def class_colour(place: int) -> RGB:
    """A vivid colour for the class at this place; neighbours lie a golden ratio apart on the circle of hues."""
    return colorsys.hsv_to_rgb((0.08 + place * 0.61803398875) % 1.0, 0.95 - 0.25 * (place // 5 % 2), 1.0)


def draw(image: np.ndarray, masks: Sequence[Drawn], colours: Mapping[int, RGB]) -> np.ndarray:
    """The image with the masks over it, uint8 RGB (H, W, 3); masks of another size are scaled to the image.

    Large masks are drawn first, so that none is hidden.
    """
    canvas = image.astype(np.float32)
    width = max(1, round(max(image.shape[:2]) / 300))
    for drawn in sorted(masks, key=lambda drawn: -drawn.area):
        colour = 255 * np.asarray(colours.get(drawn.category_id, (1.0, 1.0, 1.0)), dtype=np.float32)
        whole = drawn.decoded(*image.shape[:2])
        box = _box(whole)
        mask, part = whole[box], canvas[box]
        part[mask] = 0.5 * part[mask] + 0.5 * colour
        inner = _eroded(mask, width)
        part[mask & ~inner] = colour
        part[inner & ~_eroded(inner, max(1, width // 2))] = 255
    return canvas.round().astype(np.uint8)


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that the mask lies in."""
    sides = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    rows, columns = (slice(side[0], side[-1] + 1) if len(side) else slice(0) for side in sides)
    return rows, columns


def _eroded(mask: np.ndarray, steps: int) -> np.ndarray:
    """The mask without its outermost pixels; the border of the image counts as outside."""
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def _objects(line: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a line, one or many, up to the first that is not whole."""
    place = line.find("{")
    while place >= 0:
        try:
            value, end = _DECODER.raw_decode(line, place)
        except (ValueError, RecursionError):
            return
        yield value
        place = line.find("{", end)


def _detection(detection: Mapping[str, Any]) -> Drawn | None:
    """A detection whose mask is an RLE of the size that it states; None for anything else."""
    image_id, category_id, score, segmentation = (detection.get(key) for key in _DETECTION_KEYS)
    if not (is_id(image_id) and is_id(category_id) and is_number(score) and isinstance(segmentation, dict)):
        return None
    size = segmentation.get("size")
    if not (isinstance(size, list) and len(size) == 2 and all(is_integer(side) and side > 0 for side in size)):
        return None
    height, width = size
    if height * width > MAX_PIXELS or segmentation_problem(segmentation, height, width):
        return None
    return Drawn(to_rle(segmentation, height, width), category_id, float(score))
