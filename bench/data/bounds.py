"""How large and how strange the values of a data set may be.

pycocotools, hotcoco, Pillow and NumPy take what is within these bounds. Beyond them they end the process, fill the
memory or raise errors of their own, so that it is refused when a file is read.
"""

from __future__ import annotations

import os
import reprlib
import sys
from typing import TypeGuard

import numpy as np

MAX_PIXELS = 2**31 - 1
"""The most pixels of an image, whatever ``dataset.max_pixels`` is: the libraries count pixels in 32 bits."""

MAX_EDGE = 1_000_000
"""The longest edge of an image in pixels. pycocotools multiplies coordinates by five and keeps them in 32 bits."""

MAX_ID = 2**63 - 2
"""The largest id: the matching keeps ids in 64 bits, and adds one to those of annotations."""

MAX_NAME = 500
"""The most characters of a category's name; a legend or a table cannot show more."""

MAX_PATH = 4096
"""The most characters of a ``file_name``: Linux opens no longer path."""

MAX_CATEGORIES = 20_000
"""The most categories: hotcoco takes 0.4 MB for each, and V3Det, the largest known set, has 13,204."""

MAX_OUTLINE = 4_000_000
"""The longest outline of all polygons of an annotation, in pixels. pycocotools takes 50 bytes for each."""

MAX_FAR_OUTLINE = 10_000_000
"""The same for one that is drawn once, when the file is read: a box of twice :data:`MAX_EDGE` is within it."""

MAX_PARTS = 10_000
"""The most polygons of an annotation; merging them takes a second, and four times as long for twice as many."""

_FAR_TIMES, _FAR_LEAST = 10, 10_000

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
_REPR.maxlevel = 2


def is_integer(value: object) -> TypeGuard[int]:
    """Say whether a value is an int; Python counts True and False as ints, JSON does not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value is an int or float in a float's range; Python's JSON parser accepts NaN and Infinity."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max


def is_id(value: object) -> TypeGuard[int]:
    """Say whether a value is a whole number from 0 to :data:`MAX_ID`."""
    return is_integer(value) and 0 <= value <= MAX_ID


def farthest(height: int, width: int) -> int:
    """Return how far from 0 a coordinate of a polygon may lie, in pixels.

    COCO allows polygons that reach out of the image, as sets have them that were cut into tiles.
    """
    return max(_FAR_TIMES * max(height, width), _FAR_LEAST)


def outline(polygon: list[float]) -> float:
    """Return the length of a closed polygon [x1, y1, x2, y2, ...] in pixels, the longer of dx and dy for each side."""
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def text_problem(text: str, most: int) -> str | None:
    """Say why a text can be no name, which may have ``most`` characters; None where it can."""
    if len(text) > most:
        return f"has {len(text)} characters, may have {most} at most"
    if "\0" in text:
        return "holds a NUL character, which no name can"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a character (a lone surrogate), which no file can"
    return None


def leaves_folder(file_name: str) -> bool:
    """Say whether a relative path leads out of the folder that it starts from, or is absolute.

    Links are not followed: a folder of links is the work of who owns the folder, not of who wrote the annotations.
    """
    return os.path.isabs(file_name) or os.path.normpath(file_name).split(os.sep)[0] == os.pardir


def quoted(value: object) -> str:
    """Return a value of any depth and size for an error line, as Python writes it, cut where it is long."""
    return _REPR.repr(value)
