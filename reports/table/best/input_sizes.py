"""Find the rows whose network saw images of another size than most of those that they are compared with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from bench.schema.marks import Mark
from bench.schema.row import Row

NAME = "other input size"

MOST_RATIO = 1.25
"""Up to this ratio of pixels two input sizes count as one: libraries pad to other multiples, and round differently."""


def other_input_sizes(rows: Sequence[Row], comparable: Sequence[Sequence[int]]) -> dict[int, Mark]:
    """Give a mark for each row, by its number, whose network's input is not of the group's usual size.

    comparable: groups of comparable rows, by their numbers. The usual size is the median of the group's, the smaller
        one of two.
    """
    found: dict[int, Mark] = {}
    for numbers in comparable:
        sizes = {number: size for number in numbers if (size := _typical(rows[number]))}
        if len(sizes) < 2:
            continue
        usual = _middle(list(sizes.values()))
        for number, size in sizes.items():
            ratio = size[0] * size[1] / (usual[0] * usual[1])
            if not 1 / MOST_RATIO <= ratio <= MOST_RATIO:
                found[number] = _mark(size, usual)
    return found


def _mark(size: tuple[int, int], usual: tuple[int, int]) -> Mark:
    return Mark(
        NAME,
        f"its network saw images of {size[0]}x{size[1]} pixels, that of other rows {usual[0]}x{usual[1]}",
        "its speed, memory and AP are at that size; input_size= gives all rows one, where a model can have it",
    )


def _typical(row: Row) -> tuple[int, int] | None:
    """Give the height and the width of the row's median input; None where it was not timed."""
    sizes = row.result.speed.input_sizes if row.result.speed else []
    known = [(int(height), int(width)) for height, width in sizes if height and width]
    return _middle(known) if known else None


def _middle(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Give that of the sizes which has the median number of pixels."""
    pixels = statistics.median_low(height * width for height, width in sizes)
    return next(size for size in sizes if size[0] * size[1] == pixels)
