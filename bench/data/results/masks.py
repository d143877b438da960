"""The segmentation of a result: checked, cleared of what has no area, and converted to RLE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.data.bounds import is_number
from bench.data.coco_json import MIN_POLYGON_NUMBERS, segmentation_problem, to_rle
from bench.data.findings import Findings, Kind
from bench.data.ids import as_id
from bench.data.results import kinds

FEW_EMPTY = 1 / 20
"""The share of results with an empty segmentation beside a box with an area, above which masks must be missing.

A threshold or a resize leaves a few masks empty. A tool that exports boxes writes an empty segmentation beside each.
"""


def refuse_boxes(empty: Sequence[tuple[str, Mapping[str, Any]]], number: int, findings: Findings) -> bool:
    """Say whether results have boxes in place of masks, and add the problem; otherwise count the few that have.

    Args:
        empty: place and result of each that has an empty segmentation
        number: how many results there are
    """
    boxes = [place for place, result in empty if _has_area(result.get("bbox"))]
    if len(boxes) > max(1, FEW_EMPTY * number):
        findings.problem(kinds.BOXES_ALONE, boxes[0], len(boxes))
        return True
    if number and len(empty) == number:
        findings.problem(kinds.ALL_EMPTY, empty[0][0], len(empty))
        return True
    return False


def is_empty(segmentation: object) -> bool:
    """Whether a segmentation has no number at all: ``[]`` or ``[[]]``."""
    return isinstance(segmentation, list) and all(isinstance(part, list) and not part for part in segmentation)


def _has_area(box: object) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) and min(box[2:]) > 0


def is_plain_rle(segmentation: Any, height: int, width: int) -> bool:
    """Whether a segmentation has the keys of a compressed RLE alone, ``counts`` a str, and the size of its image."""
    if type(segmentation) is not dict or len(segmentation) != 2:
        return False
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if type(size) is not list or size != [height, width] or not set(map(type, size)) <= {int}:
        return False
    return type(counts) is str and len(counts) <= height * width


def rle_of(
    segmentation: Any, height: int, width: int, place: str, findings: Findings, box: object = None
) -> dict[str, Any] | None:
    """Give a segmentation of an image of ``height`` x ``width`` pixels as compressed RLE; None where it is wrong.

    A polygon of fewer than three points has no area, as the evaluators see it who get RLE: the result is kept, with an
    empty mask, and is a false positive. pycocotools would take four numbers for a box.

    Args:
        box: the ``bbox`` beside it, which says whether an empty mask was meant
    """
    segmentation = _with_numbers(segmentation, place, findings)
    if isinstance(segmentation, list):
        if len(segmentation) >= MIN_POLYGON_NUMBERS and all(map(is_number, segmentation)):
            findings.repair(kinds.FLAT_POLYGON, place)
            segmentation = [segmentation]
        sound = [part for part in segmentation if not _without_area(part)]
        if not sound:
            beside_box = is_empty(segmentation) and _has_area(box)
            findings.repair(kinds.EMPTY_BESIDE_BOX if beside_box else kinds.EMPTY_MASK, place)
            return to_rle({"size": [height, width], "counts": [height * width]}, height, width)
        if len(sound) < len(segmentation):
            findings.repair(kinds.STRAY_PART, place)
        segmentation = sound
    if problem := segmentation_problem(segmentation, height, width):
        findings.problem(_kind(segmentation, height, width), f"{place}: {problem}")
        return None
    return to_rle(segmentation, height, width)


def _with_numbers(segmentation: Any, place: str, findings: Findings) -> Any:
    """Give an RLE whose size is written as text with numbers in it."""
    size = segmentation.get("size") if isinstance(segmentation, Mapping) else None
    if not isinstance(size, list) or not any(isinstance(edge, str) for edge in size):
        return segmentation
    numbers = [as_id(edge) if isinstance(edge, str) else edge for edge in size]
    if any(isinstance(edge, str) for edge in numbers):
        return segmentation
    findings.repair(kinds.TEXT_SIZE, place)
    return {**segmentation, "size": numbers}


def rle_size(segmentation: object) -> tuple[int, int] | None:
    """Give height and width that an RLE says; None for anything else."""
    size = segmentation.get("size") if isinstance(segmentation, Mapping) else None
    if not isinstance(size, list) or len(size) != 2:
        return None
    height, width = (as_id(edge) for edge in size)
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _without_area(part: object) -> bool:
    return (
        isinstance(part, list) and len(part) < MIN_POLYGON_NUMBERS and len(part) % 2 == 0 and all(map(is_number, part))
    )


def _kind(segmentation: Any, height: int, width: int) -> Kind:
    """Give the kind of what is wrong with a segmentation."""
    if not isinstance(segmentation, Mapping) or not isinstance(segmentation.get("size"), list):
        return kinds.BAD_MASK
    size = segmentation["size"]
    if size == [height, width] or "counts" not in segmentation:
        return kinds.BAD_MASK
    return kinds.SWAPPED_SIZE if size == [width, height] else kinds.OTHER_SIZE
