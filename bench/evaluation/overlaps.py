"""Masks without overlap, straight on their runs: no mask is decoded to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.data.coco_json import mask_library
from bench.evaluation.rle import rles_without_overlap

_FIRST_CHARACTER = 48
_PLAIN = 3
"""How many counts of a compressed RLE stand there as they are; each of the others is a difference to the last but
one."""


def without_overlap(rles: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each pixel to the first mask that covers it; masks of one size as compressed RLE, by falling score.

    A mask that loses nothing keeps its RLE. The mask library intersects runs in half the time that it takes to decode
    them and to look at every pixel.
    """
    if not rles:
        return []
    library = mask_library()
    size = list(rles[0]["size"])
    free: Any = {"size": size, "counts": _text([0, size[0] * size[1]])}
    reduced = []
    left_free = size[0] * size[1]
    for rle in rles:
        mask = {"size": size, "counts": rle["counts"]}
        left = library.merge([mask, free], True)
        free = library.merge([{"size": size, "counts": complement(rle["counts"])}, free], True)
        counts = _as_text(left["counts"])
        own, before, of_mask = int(library.area(left)), left_free, int(library.area(mask))
        left_free = int(library.area(free))
        if own + left_free != before:  # a run without a pixel, as some tools write, may end the library's loop early
            return rles_without_overlap(rles)
        reduced.append(rle if own == of_mask else {"size": size.copy(), "counts": counts})
    return reduced


def complement(counts: str) -> str:
    """Give the compressed counts of the pixels outside of a mask.

    They are the same runs behind an empty one, or without the empty one that the mask begins with. Only one count is
    written otherwise then: the last of those that stand there as they are.
    """
    values, ends = _first(counts, _PLAIN + 1)
    if values[0]:
        if len(values) < _PLAIN:
            return _text([0]) + counts
        return _text([0]) + counts[: ends[1]] + _text([values[2] - values[0]]) + counts[ends[2] :]
    if len(values) == 1:
        return counts
    if len(values) <= _PLAIN:
        return counts[ends[0] :]
    return counts[ends[0] : ends[2]] + _text([values[3] + values[1]]) + counts[ends[3] :]


def _first(counts: str, number: int) -> tuple[list[int], list[int]]:
    """Give the first values that are written in compressed counts, and the place behind each."""
    values: list[int] = []
    ends: list[int] = []
    value = shift = 0
    for place, character in enumerate(counts.encode("ascii"), start=1):
        bits = character - _FIRST_CHARACTER
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            values.append(value - (1 << shift) if bits & 16 else value)
            ends.append(place)
            value = shift = 0
            if len(values) == number:
                break
    return values, ends


def _text(values: Sequence[int]) -> str:
    """Write values as pycocotools' ``rleToString`` (maskApi.c) does."""
    characters = []
    for given in values:
        value, more = given, True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            characters.append(chr(bits + 32 * more + _FIRST_CHARACTER))
    return "".join(characters)


def _as_text(counts: str | bytes) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
