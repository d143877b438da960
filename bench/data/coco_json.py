"""The COCO file format: JSON, and the three forms of a segmentation in it.

No check decodes a mask, so that a set of a million annotations is checked in seconds. pycocotools reads past the end of
a wrong RLE without an error; therefore everything is checked here before a mask library gets it.
"""

from __future__ import annotations

import importlib
import json
import math
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.bounds import MAX_OUTLINE, MAX_PARTS, farthest, outline, quoted
from bench.errors import UserError

MIN_POLYGON_NUMBERS = 6
"""Three points; COCO writes a polygon as [x1, y1, x2, y2, ...]."""

# pycocotools' alphabet has 6 bits a character, from "0" on; the sixth bit says that more characters follow.
_FIRST_CHARACTER = 48
_MAX_CHARACTERS_A_COUNT = 7
_MOST_CHARACTERS_A_PIXEL = 2 * _MAX_CHARACTERS_A_COUNT  # some tools write empty runs between the others


def parse_json(content: bytes, path: Path, key: str) -> Any:
    """Parse the JSON of a file that the configuration names under ``key``.

    Raises:
        UserError: the content is not JSON, it ends in the middle, or a key stands twice in one object.
    """
    try:
        return json.loads(content, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        cut_off = not content.rstrip().endswith((b"}", b"]"))
        hint = f"it ends in the middle after {len(content)} bytes, copy it again" if cut_off else "not JSON"
        if isinstance(error, _DoubleKeyError):
            hint = "one of two values would be lost"
        raise UserError(f"{path}: cannot be read ({key}): {hint}: {error}") from error


class _DoubleKeyError(ValueError):
    """A key stands twice in one object of JSON."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _DoubleKeyError(f"the key {quoted(twice)} stands twice in the object {quoted(made)}")
    return made


def read_file(path: Path, key: str, hint: str = "", max_gb: float | None = None) -> bytes:
    """Return the bytes of a file that the configuration names under ``key``; ``hint`` says how to get it.

    Raises:
        UserError: the file is absent, cannot be read, is a pipe or a device, or is larger than ``max_gb`` (10^9 bytes),
            the value of ``dataset.max_json_gb``.
    """
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise UserError(f"{path}: is a pipe or a device, must be a file ({key})")  # one without end is never read
        if max_gb is not None and status.st_size > max_gb * 1e9:
            raise UserError(
                f"{path}: has {status.st_size / 1e9:.1f} GB, more than dataset.max_json_gb={max_gb:g} ({key}); with "
                f"about ten times that in free memory give dataset.max_json_gb={math.ceil(status.st_size / 1e9)}"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", "") or error
        raise UserError(f"{path}: {reason} ({key}){'; ' + hint if hint else ''}") from error


def segmentation_problem(segmentation: object, height: int, width: int) -> str | None:
    """Say what is wrong with a segmentation of an image of ``height`` x ``width`` pixels; None where it is right."""
    if isinstance(segmentation, list):
        if not segmentation:
            return "segmentation is empty, must be polygons or an RLE"
        if len(segmentation) > MAX_PARTS:
            return f"segmentation has {len(segmentation)} polygons, may have {MAX_PARTS} at most"
        far = farthest(height, width)
        for number, polygon in enumerate(segmentation):
            if problem := _polygon_problem(polygon, far):
                return f"segmentation[{number}] {problem}"
        return _outline_problem(segmentation)
    if isinstance(segmentation, Mapping) and {"size", "counts"} <= set(segmentation):
        return _rle_problem(segmentation, height, width)
    return (
        f"segmentation is {_shown(segmentation)}, must be a list of polygons [[x1, y1, x2, y2, ...], ...] "
        f'or an RLE {{"size": [height, width], "counts": ...}}'
    )


def _polygon_problem(polygon: object, far: int) -> str | None:
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
        return f"is {_shown(polygon)}, must be a polygon: a list of numbers [x1, y1, x2, y2, ...]"
    if len(polygon) < MIN_POLYGON_NUMBERS:
        points = f"a polygon of {len(polygon) // 2} points, " if len(polygon) % 2 == 0 else ""
        return f"has {len(polygon)} numbers ({points}at least 3 points, 6 numbers, are needed)"
    if len(polygon) % 2:
        return f"has {len(polygon)} numbers, must be an even number (x and y of every point)"
    # The comparisons come first: an int may be too large for a sum of floats. The sum finds NaN anywhere.
    if not (-far <= min(polygon) and max(polygon) <= far) or math.isnan(sum(polygon)):
        if any(number != number or number in (math.inf, -math.inf) for number in polygon):
            return "holds NaN or infinity, must be finite numbers"
        beyond = quoted(max(polygon, key=abs))
        return f"reaches to the coordinate {beyond}, may lie {far} pixels from the image at most"
    return None


def _outline_problem(polygons: list[list[float]]) -> str | None:
    """Say whether the outlines of checked polygons are so long that drawing them fills the memory."""
    most = sum(len(polygon) / 2 * (max(polygon) - min(polygon)) for polygon in polygons)
    if most <= MAX_OUTLINE or (length := sum(map(outline, polygons))) <= MAX_OUTLINE:
        return None
    return f"segmentation has an outline of {length:.0f} pixels, may have {MAX_OUTLINE} at most"


def _rle_problem(rle: Mapping[str, Any], height: int, width: int) -> str | None:
    if rle["size"] != [height, width] or bool in map(type, rle["size"]):
        return f"segmentation.size is {_shown(rle['size'])}, must be the image's [height, width], [{height}, {width}]"
    most = _MOST_CHARACTERS_A_PIXEL * (height * width + 1)
    if isinstance(rle["counts"], (list, str, bytes)) and len(rle["counts"]) > most:
        return f"segmentation.counts has a length of {len(rle['counts'])}, may have {most} at most for this image"
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
        possible = not counts or (min(counts) >= 0 and max(counts) < 2**31)
        runs = np.asarray(counts, dtype=np.int64) if possible else np.array([-1])
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
    if isinstance(segmentation, Mapping):
        counts = segmentation["counts"]
        segmentation = {"size": [height, width], "counts": counts}  # 40.0 passes the check too
        if isinstance(counts, (str, bytes)):
            return {**segmentation, "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}
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
    """Return a value for an error line, at most about 60 characters; words and null as JSON writes them."""
    if value is None or isinstance(value, (bool, str)):
        text = json.dumps(value[:60] if isinstance(value, str) else value)
        return text if len(text) <= 60 else text[:57] + "..."
    return quoted(value)
