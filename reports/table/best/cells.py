"""Which values of a table are marked as the best: the best one among comparable rows, and all that may be as good."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.schema.marks import why_never_best
from bench.schema.metrics import FIGURES, noise
from bench.schema.row import Row
from reports.table.columns import COLUMNS, INTERVALS
from reports.table.differences import Group

Cells = Mapping[str, Sequence[Any]]
"""The values of each column by the numbers of the rows; None where a cell is empty."""


@dataclass(frozen=True)
class Best:
    """What is marked in a table.

    cells: (number of the row, column) of every value to mark
    tied: the corrected p of the difference in mask AP, of each row that is marked though another row's is higher
    overlapping: those of ``cells`` that are marked since their interval overlaps that of the best value
    """

    cells: frozenset[tuple[int, str]]
    tied: dict[int, float]
    overlapping: frozenset[tuple[int, str]]


def best_of_groups(
    rows: Sequence[Row], frame: pd.DataFrame, comparable: Sequence[Sequence[int]], groups: Sequence[Group]
) -> Best:
    """Find what to mark among comparable rows, given by their numbers; ``groups`` hold the tested differences in AP."""
    cells = _cells(rows, frame)
    never = {number for number, row in enumerate(rows) if why_never_best(row.result)}
    best = best_cells(comparable, cells, never)
    tied = _tied(groups, best)
    overlapping = _overlapping(comparable, cells, best, never)
    return Best(best | {(number, "mask_ap") for number in tied} | overlapping, tied, overlapping)


def best_cells(
    comparable: Iterable[Sequence[int]], cells: Cells, never: Collection[int] = ()
) -> frozenset[tuple[int, str]]:
    """Give (number of the row, column) of the best values in each group; a column of equal values has none.

    never: rows that are left out where the column is a figure of time
    """
    best: set[tuple[int, str]] = set()
    for rows in comparable:
        for name, values in cells.items():
            if COLUMNS[name].better is None:
                continue
            measured = _measured(rows, name, values, never)
            if len(set(measured.values())) < 2:
                continue
            target = max(measured.values()) if COLUMNS[name].better == "high" else min(measured.values())
            best |= {(row, name) for row, value in measured.items() if value == target}
    return frozenset(best)


def overlap(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Tell whether two intervals have a value in common; False where an end is not known."""
    if None in first or None in second:
        return False
    return bool(first[0] <= second[1] and second[0] <= first[1])


def _cells(rows: Sequence[Row], frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Give the columns in which there can be a best value, and the ends of intervals; of noise nothing is the best."""
    cells: dict[str, list[Any]] = {}
    ends = {end for names in INTERVALS.values() for end in names}
    for name in (str(name) for name in frame):
        if COLUMNS[name].better is None and name not in ends:
            continue
        cells[name] = [None if pd.isna(value) else value for value in frame[name].tolist()]
        if name in FIGURES and FIGURES[name].noise_if_untrained:
            cells[name] = [
                None if noise(name, row.result) else value for row, value in zip(rows, cells[name], strict=True)
            ]
    return cells


def _measured(rows: Sequence[int], name: str, values: Sequence[Any], never: Collection[int]) -> dict[int, Any]:
    of_time = name in FIGURES and FIGURES[name].of_time
    return {row: values[row] for row in rows if values[row] is not None and not (of_time and row in never)}


def _tied(groups: Sequence[Group], best: frozenset[tuple[int, str]]) -> dict[int, float]:
    """Give the rows that are not distinguishable from the best of their group, each with its corrected p."""
    tied: dict[int, float] = {}
    for group in groups:
        tops = [row for row in group.rows if (row, "mask_ap") in best]
        for row in group.rows if tops else ():
            difference = group.difference("mask_ap", tops[0], row)
            if row not in tops and difference and not difference.significant:
                tied[row] = difference.p_holm
    return tied


def _overlapping(
    comparable: Iterable[Sequence[int]], cells: Cells, best: frozenset[tuple[int, str]], never: Collection[int]
) -> frozenset[tuple[int, str]]:
    """Give the values whose interval overlaps that of the best; mask AP is tested better than so, pair by pair."""
    found: set[tuple[int, str]] = set()
    of_intervals = [(name, *ends) for name, ends in INTERVALS.items() if not FIGURES[name].resampled]
    for rows in comparable:
        for name, low, high in of_intervals:
            measured = _measured(rows, name, cells[name], never)
            tops = [row for row in measured if (row, name) in best]
            spans = {row: (cells[low][row], cells[high][row]) for row in measured}
            found |= {
                (row, name)
                for row in measured
                if row not in tops and any(overlap(spans[row], spans[top]) for top in tops)
            }
    return frozenset(found)
