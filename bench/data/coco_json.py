"""The three forms of a segmentation in a COCO file, and what can be wrong with one.

No check decodes a mask, so that a set of a million annotations is checked in seconds. pycocotools reads past the end of
a wrong RLE without an error; therefore everything is checked here before a mask library gets it.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bench.data.bounds import MAX_EDGE, MAX_OUTLINE, MAX_PARTS, farthest, outline, quoted
from bench.data.findings import Kind

NO_MASK = Kind(
    "no_mask",
    "annotations without a mask",
    "give dataset.without_mask=drop to leave them out, or dataset.without_mask=ignore to make their boxes ignored "
    "regions",
)
SEGMENTATION_FORM = Kind(
    "segmentation_form",
    "annotations whose segmentation is of an unknown form",
    'must be a list of polygons [[x1, y1, x2, y2, ...], ...] or an RLE {"size": [height, width], "counts": ...}',
)
PARTS = Kind("parts", "annotations of too many polygons", f"may have {MAX_PARTS} at most")
OUTLINE = Kind("outline", "annotations with too long an outline", f"may have {MAX_OUTLINE} pixels at most")
POLYGON_FORM = Kind(
    "polygon_form",
    "annotations with a polygon of an unknown form",
    "must be a list of numbers [x1, y1, x2, y2, ...]",
)
POLYGON_POINTS = Kind(
    "polygon_points", "annotations with a polygon of too few points", "at least 3 points, 6 numbers, are needed"
)
POLYGON_ODD = Kind(
    "polygon_odd",
    "annotations with a polygon of an odd number of coordinates",
    "must be an even number (x and y of every point)",
)
POLYGON_NAN = Kind("polygon_nan", "annotations with a coordinate that is no number", "must be finite numbers")
POLYGON_FAR = Kind(
    "polygon_far",
    "annotations with a coordinate that is far beyond any image",
    f"may lie {MAX_EDGE} pixels from 0 at most",
)
RLE_SIZE = Kind(
    "rle_size", "annotations with an RLE of another size than the image", "must be the image's [height, width]"
)
RLE_SWAPPED = Kind(
    "rle_swapped",
    "annotations with an RLE of the size [width, height]",
    "must be [height, width], with counts that run down the columns",
)
RLE_COUNTS = Kind(
    "rle_counts",
    "annotations with an RLE whose counts are wrong",
    "must be the lengths of runs, or pycocotools' compressed string",
)
RLE_COVER = Kind(
    "rle_cover", "annotations with an RLE that covers more or less than the image", "must cover each pixel once"
)


class Fault(NamedTuple):
    """What is wrong with a segmentation: its kind, and what stands there."""

    kind: Kind
    detail: str


MIN_POLYGON_NUMBERS = 6
"""Three points; COCO writes a polygon as [x1, y1, x2, y2, ...]."""

# pycocotools' alphabet has 6 bits a character, from "0" on; the sixth bit says that more characters follow.
_FIRST_CHARACTER = 48
_MAX_CHARACTERS_A_COUNT = 7
_MOST_CHARACTERS_A_PIXEL = 2 * _MAX_CHARACTERS_A_COUNT  # some tools write empty runs between the others


def segmentation_problem(segmentation: object, height: int, width: int) -> str | None:
    """Say what is wrong with a segmentation of an image of ``height`` x ``width`` pixels; None where it is right."""
    fault = segmentation_fault(segmentation, height, width)
    if fault is None:
        return None
    size = f"must be the image's [height, width], [{height}, {width}]"
    # An annotation without a mask can be left out by a key, and its far polygons are cut; a result has neither.
    of_one = {
        NO_MASK: "must be polygons or an RLE",
        POLYGON_FAR: f"may lie {farthest(height, width)} pixels from the image at most",
        RLE_SIZE: size,
        RLE_SWAPPED: size,
    }
    return f"{fault.detail}, {of_one.get(fault.kind, fault.kind.then)}"


def segmentation_fault(segmentation: object, height: int, width: int) -> Fault | None:
    """Give the first fault of a segmentation of an image of ``height`` x ``width`` pixels; None where it is right."""
    if isinstance(segmentation, list):
        if not segmentation:
            return Fault(NO_MASK, "segmentation is empty")
        if len(segmentation) > MAX_PARTS:
            return Fault(PARTS, f"segmentation has {len(segmentation)} polygons")
        far = farthest(height, width)
        for number, polygon in enumerate(segmentation):
            if fault := _polygon_fault(polygon, far):
                return Fault(fault.kind, f"segmentation[{number}] {fault.detail}")
        return _outline_fault(segmentation)
    if isinstance(segmentation, Mapping) and {"size", "counts"} <= set(segmentation):
        return _rle_fault(segmentation, height, width)
    return Fault(SEGMENTATION_FORM, f"segmentation is {_shown(segmentation)}")


def _polygon_fault(polygon: object, far: int) -> Fault | None:
    if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
        return Fault(POLYGON_FORM, f"is {_shown(polygon)}")
    if len(polygon) < MIN_POLYGON_NUMBERS:
        points = f", a polygon of {len(polygon) // 2} points" if len(polygon) % 2 == 0 else ""
        return Fault(POLYGON_POINTS, f"has {len(polygon)} numbers{points}")
    if len(polygon) % 2:
        return Fault(POLYGON_ODD, f"has {len(polygon)} numbers")
    # The comparisons come first: an int may be too large for a sum of floats. The sum finds NaN anywhere.
    if not (-far <= min(polygon) and max(polygon) <= far) or math.isnan(sum(polygon)):
        if any(number != number or number in (math.inf, -math.inf) for number in polygon):
            return Fault(POLYGON_NAN, "holds NaN or infinity")
        beyond = quoted(max(polygon, key=abs))
        return Fault(POLYGON_FAR, f"reaches to the coordinate {beyond}")
    return None


def _outline_fault(polygons: list[list[float]]) -> Fault | None:
    """Say whether the outlines of checked polygons are so long that drawing them fills the memory."""
    most = sum(len(polygon) / 2 * (max(polygon) - min(polygon)) for polygon in polygons)
    if most <= MAX_OUTLINE or (length := sum(map(outline, polygons))) <= MAX_OUTLINE:
        return None
    return Fault(OUTLINE, f"segmentation has an outline of {length:.0f} pixels")


def _rle_fault(rle: Mapping[str, Any], height: int, width: int) -> Fault | None:
    if rle["size"] != [height, width] or bool in map(type, rle["size"]):
        kind = RLE_SWAPPED if rle["size"] == [width, height] else RLE_SIZE
        return Fault(kind, f"segmentation.size is {_shown(rle['size'])}")
    most = _MOST_CHARACTERS_A_PIXEL * (height * width + 1)
    if isinstance(rle["counts"], (list, str, bytes)) and len(rle["counts"]) > most:
        return Fault(
            RLE_COUNTS, f"segmentation.counts has a length of {len(rle['counts'])}, at most {most} is possible"
        )
    try:
        counts = rle_counts(rle["counts"])
    except ValueError as error:
        return Fault(RLE_COUNTS, f"segmentation.counts {error}")
    if (total := int(counts.sum())) != height * width:
        size = f"{height} x {width} = {height * width}"
        return Fault(RLE_COVER, f"segmentation.counts cover {total} pixels, the image has {size}")
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


@functools.cache
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
