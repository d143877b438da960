"""Repairs of what other tools write and what has one meaning: each has a name, and is counted.

A repair never chooses between two meanings. What has two is a problem (:mod:`bench.data.problems`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.data.bounds import MAX_EDGE, MAX_FAR_OUTLINE, is_number, outline
from bench.data.coco_json import (
    MIN_POLYGON_NUMBERS,
    NO_MASK,
    OUTLINE,
    POLYGON_FAR,
    RLE_COUNTS,
    Fault,
    segmentation_fault,
    to_rle,
)
from bench.data.findings import Findings, Kind
from bench.data.ids import Id, as_id

NULLS = Kind("nulls", "annotations with a null", "read as if the key were absent")
WHOLE_NUMBERS = Kind("whole_numbers", "whole numbers written as 240.0, true or false", "read as 240, 1 or 0")
TEXT_NUMBERS = Kind("text_numbers", 'ids that are numbers written as texts, "1"', "read as the numbers")
ANNOTATION_IDS = Kind(
    "annotation_ids",
    "annotations with an id that is absent, doubled or no number from 0 on",
    "numbered anew, since these ids carry no information",
)
EMPTY_TWIN = Kind(
    "empty_twin", "categories without annotations and with the name of another", "left out; the other is meant"
)
STRAY_PARTS = Kind(
    "stray_parts",
    "annotations with a part of fewer than three points beside a sound one",
    "the part is left out, since it has no area",
)
FLAT_POLYGON = Kind("flat_polygon", "polygons that stand outside of a list", "[x1, y1, ...] is read as [[x1, y1, ...]]")
POINT_LISTS = Kind("point_lists", "polygons written as points", "[[x1, y1], [x2, y2], ...] is read as [[x1, y1, ...]]")
FAR_POLYGON = Kind(
    "far_polygon",
    "annotations with a polygon that reaches out by more than ten times the image",
    "read as their mask in the image",
)
DROPPED = Kind("dropped", "annotations without a mask", "left out, by dataset.without_mask=drop", asked=True)
IGNORED = Kind(
    "ignored",
    "annotations without a mask",
    "turned into ignored regions, their boxes, by dataset.without_mask=ignore",
    asked=True,
)
IGNORED_NO_BOX = Kind(
    "ignored_no_box",
    "annotations with neither a mask nor a box in the image",
    "left out, by dataset.without_mask=ignore",
    asked=True,
)


def number(value: Any, place: str, findings: Findings) -> Any:
    """Give 240 for 240.0; every other value as it is."""
    if type(value) is float and value.is_integer():
        findings.repair(WHOLE_NUMBERS, place)
        return int(value)
    return value


def identity(value: Any, place: str, findings: Findings) -> Id | None:
    """Give the id of an image or a category in its one form; None for what can be no id."""
    found = as_id(value)
    if type(found) is not type(value) and found is not None:
        findings.repair(TEXT_NUMBERS if isinstance(value, str) else WHOLE_NUMBERS, place)
    return found


def without_nulls(entry: Mapping[str, Any], keys: Sequence[str], place: str, findings: Findings) -> dict[str, Any]:
    """Give those of the keys that an annotation has; null, and an empty box, mean that it has none."""
    kept = {key: entry[key] for key in keys if key in entry}
    empty = [key for key, value in kept.items() if value is None or (key == "bbox" and value == [])]
    for key in empty:
        del kept[key]
        if key not in ("segmentation", "id"):  # these have kinds of their own
            findings.repair(NULLS, f"{place}: {key}")
    return kept


def mended(segmentation: Any, height: int, width: int) -> tuple[Any, Fault | None, list[Kind]]:
    """Repair a segmentation of an image of ``height`` x ``width`` pixels.

    Returns:
        the segmentation, the fault that is left or None, and the kinds of what was repaired; a right segmentation is
        given as it is
    """
    fault = segmentation_fault(segmentation, height, width)
    if fault is None:
        # true and 40.0 equal the numbers of a size
        is_float = isinstance(segmentation, Mapping) and float in map(type, segmentation["size"])
        return segmentation, None, [WHOLE_NUMBERS] if is_float else []
    if isinstance(segmentation, Mapping):
        if fault.kind is not RLE_COUNTS or not _are_whole(segmentation["counts"]):
            return segmentation, fault, []
        made = {**segmentation, "counts": [int(run) for run in segmentation["counts"]]}
        return made, segmentation_fault(made, height, width), [WHOLE_NUMBERS]
    if not isinstance(segmentation, list):
        return segmentation, fault, []
    kinds: list[Kind] = []
    for repair in (_unflattened, _from_points, _without_strays):
        segmentation, kind = repair(segmentation)
        kinds += [] if kind is None else [kind]
    fault = segmentation_fault(segmentation, height, width)
    if fault is not None and fault.kind is POLYGON_FAR:
        segmentation, fault, filled = _filled(segmentation, height, width)
        kinds += filled
    return segmentation, fault, kinds


Repaired = tuple[list[Any], "Kind | None"]
"""The polygons of an annotation, and what was repaired; None where nothing was."""


def _are_whole(counts: Any) -> bool:
    return isinstance(counts, list) and all(
        type(run) is int or (type(run) is float and run.is_integer()) for run in counts
    )


def _are_numbers(part: Any) -> bool:
    return isinstance(part, list) and set(map(type, part)) <= {int, float}


def _unflattened(parts: list[Any]) -> Repaired:
    """[x1, y1, x2, y2, x3, y3] is one polygon."""
    return ([parts], FLAT_POLYGON) if parts and _are_numbers(parts) else (parts, None)


def _from_points(parts: list[Any]) -> Repaired:
    """[[x1, y1], [x2, y2], [x3, y3]] is one polygon, and [[[x1, y1], ...], ...] are several."""
    if _are_points(parts):
        return [[value for point in parts for value in point]], POINT_LISTS
    if any(map(_are_points, parts)):
        flat = [[value for point in part for value in point] if _are_points(part) else part for part in parts]
        return flat, POINT_LISTS
    return parts, None


def _are_points(part: Any) -> bool:
    return (
        isinstance(part, list)
        and len(part) >= MIN_POLYGON_NUMBERS // 2
        and all(_are_numbers(point) and len(point) == 2 for point in part)
    )


def _without_strays(parts: list[Any]) -> Repaired:
    """Leave parts of fewer than three points out; where no other is left, nothing is."""
    kept = [part for part in parts if not _is_stray(part)]
    return (kept, STRAY_PARTS) if 0 < len(kept) < len(parts) else (parts, None)


def _is_stray(part: Any) -> bool:
    return _are_numbers(part) and len(part) < MIN_POLYGON_NUMBERS and len(part) % 2 == 0


def _filled(parts: list[Any], height: int, width: int) -> tuple[Any, Fault | None, list[Kind]]:
    """Give polygons that reach far out, but not beyond what any image can have, as the RLE of their mask."""
    if not all(_are_numbers(part) and len(part) >= MIN_POLYGON_NUMBERS and len(part) % 2 == 0 for part in parts):
        return parts, segmentation_fault(parts, height, width), []
    if not all(-MAX_EDGE <= value <= MAX_EDGE for part in parts for value in part):
        return parts, segmentation_fault(parts, height, width), []
    if (length := sum(map(outline, parts))) > MAX_FAR_OUTLINE:
        return parts, Fault(OUTLINE, f"segmentation has an outline of {length:.0f} pixels"), []
    return to_rle(parts, height, width), None, [FAR_POLYGON]


def ignored_region(box: Any, height: int, width: int) -> list[list[float]] | None:
    """Give a box [x, y, width, height] as a polygon inside the image; None where it has no area there."""
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
        return None
    x, y, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    left, top, right, bottom = max(x, 0), max(y, 0), min(right, width), min(bottom, height)
    if not (left < right and top < bottom and math.isfinite(right - left)):
        return None
    return [[left, top, right, top, right, bottom, left, bottom]]


def is_without_mask(segmentation: Any, fault: Fault | None) -> bool:
    """Say whether an annotation has no mask: null, an empty list, or parts of fewer than three points alone."""
    if segmentation is None or fault is None:
        return segmentation is None
    if fault.kind is NO_MASK:
        return True
    return isinstance(segmentation, list) and bool(segmentation) and all(map(_is_stray, segmentation))
