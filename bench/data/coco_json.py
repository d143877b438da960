"""The COCO file format: JSON, and the three forms of a segmentation in it.

No check decodes a mask, so that a set of a million annotations is checked in seconds. pycocotools reads past the end of
a wrong RLE without an error; therefore everything is checked here before a mask library gets it.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError

MIN_POLYGON_NUMBERS = 6
"""Three points; COCO writes a polygon as [x1, y1, x2, y2, ...]."""

# pycocotools' alphabet has 6 bits a character, from "0" on; the sixth bit says that more characters follow.
_FIRST_CHARACTER = 48
_MAX_CHARACTERS_A_COUNT = 7


def parse_json(content: bytes, path: Path, key: str) -> Any:
    """Parse the JSON of a file that the configuration names under ``key``.

    Raises:
        UserError: the content is not JSON, or it ends in the middle; the message says where.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        cut_off = not content.rstrip().endswith((b"}", b"]"))
        hint = f"it ends in the middle after {len(content)} bytes, copy it again" if cut_off else "not JSON"
        raise UserError(f"{path}: cannot be read ({key}): {hint}: {error}") from error


def read_file(path: Path, key: str, hint: str = "") -> bytes:
    """Return the bytes of a file that the configuration names under ``key``; ``hint`` says how to get it.

    Raises:
        UserError: the file is absent or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise UserError(f"{path}: {reason} ({key}){'; ' + hint if hint else ''}") from error


def is_integer(value: object) -> bool:
    """Say whether a value is an int; Python counts True and False as ints, JSON does not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Say whether a value is a finite int or float; Python's JSON parser accepts NaN and Infinity."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def segmentation_problem(segmentation: object, height: int, width: int) -> str | None:
    """Say what is wrong with a segmentation of an image of ``height`` x ``width`` pixels; None where it is right."""
    if isinstance(segmentation, list):
        if not segmentation:
            return "segmentation is empty, must be polygons or an RLE"
        for number, polygon in enumerate(segmentation):
            if problem := _polygon_problem(polygon):
                return f"segmentation[{number}] {problem}"
        return None
    if isinstance(segmentation, Mapping) and {"size", "counts"} <= set(segmentation):
        return _rle_problem(segmentation, height, width)
    return (
        f"segmentation is {_shown(segmentation)}, must be a list of polygons [[x1, y1, x2, y2, ...], ...] "
        f'or an RLE {{"size": [height, width], "counts": ...}}'
    )


def _polygon_problem(polygon: object) -> str | None:
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
        return f"is {_shown(polygon)}, must be a polygon: a list of numbers [x1, y1, x2, y2, ...]"
    if len(polygon) < MIN_POLYGON_NUMBERS:
        points = f"a polygon of {len(polygon) // 2} points, " if len(polygon) % 2 == 0 else ""
        return f"has {len(polygon)} numbers ({points}at least 3 points, 6 numbers, are needed)"
    if len(polygon) % 2:
        return f"has {len(polygon)} numbers, must be an even number (x and y of every point)"
    if not math.isfinite(sum(polygon)):
        return "holds NaN or infinity, must be finite numbers"
    return None


def _rle_problem(rle: Mapping[str, Any], height: int, width: int) -> str | None:
    if rle["size"] != [height, width]:
        return f"segmentation.size is {_shown(rle['size'])}, must be the image's [height, width], [{height}, {width}]"
    try:
        counts = rle_counts(rle["counts"])
    except ValueError as error:
        return f"segmentation.counts {error}"
    if (total := int(counts.sum())) != height * width:
        return f"segmentation.counts cover {total} pixels, the image has {height} x {width} = {height * width}"
    return None


def rle_counts(counts: object) -> np.ndarray:
    """Return the run lengths of an RLE, int64 (runs,), from its list or from pycocotools' compressed string.

    Raises:
        ValueError: they are wrong; the message says how.
    """
    if isinstance(counts, list):
        if not set(map(type, counts)) <= {int}:
            raise ValueError("must be a list of whole numbers or a string")
        runs = np.asarray(counts, dtype=np.int64) if max(counts, default=0) < 2**31 else np.array([-1])
    elif isinstance(counts, (str, bytes)):
        runs = _decompressed(counts.encode("ascii", "replace") if isinstance(counts, str) else counts)
    else:
        raise ValueError(f"are {_shown(counts)}, must be a list of whole numbers or a string")
    if (runs < 0).any():
        raise ValueError("hold a run of impossible length")
    return runs


def _decompressed(text: bytes) -> np.ndarray:
    """Decompress counts as pycocotools' ``rleFrString`` (maskApi.c) does: 5 bits a character, then differences."""
    digits = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if not len(digits):
        return digits
    if digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise ValueError("are not a compressed RLE string, or one that is cut off")
    ends = np.flatnonzero(digits & 32 == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _MAX_CHARACTERS_A_COUNT:
        raise ValueError("hold a run of impossible length")
    shift = 5 * (np.arange(len(digits)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((digits & 31) << shift, starts)
    runs -= np.where(digits[ends] & 16, np.left_shift(1, 5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def to_rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Convert a checked segmentation of any form to one compressed RLE, ``counts`` a str.

    hotcoco fills the polygons, or pycocotools where there is no hotcoco; both give the same masks.
    """
    if isinstance(segmentation, Mapping) and isinstance(counts := segmentation["counts"], (str, bytes)):
        return {"size": [height, width], "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}
    library = mask_library()
    rle = library.frPyObjects(segmentation, height, width)
    if isinstance(rle, list):
        rle = library.merge(rle)
    counts = rle["counts"]
    return {"size": [height, width], "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def mask_library() -> Any:
    """Return ``hotcoco.mask``, or ``pycocotools.mask`` where the environment of a library lacks hotcoco."""
    try:
        return importlib.import_module("hotcoco").mask
    except ModuleNotFoundError:
        return importlib.import_module("pycocotools.mask")


def _shown(value: object) -> str:
    """Return a value for an error line, as JSON writes it, at most 60 characters."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
