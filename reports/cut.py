"""Which rows a report shows where it has too many for a page: files of figures hold all, and every page says what it
shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from reports.conversion.groups import bases
from reports.table.comparison import Comparison, comparison_key
from reports.table.differences import Group

MOST_ROWS = 300
"""Rows of a page, of a table as text, and of a terminal."""

MOST_UNFINISHED = 30
"""Rows among them that failed, and as many that were skipped; more only where fewer rows ended well."""

MOST_LINES = 60
"""Rows of a plot that has a line or a bar for each."""

MOST_NAMES = 30
"""Labels of rows that stand in one sentence."""


def cut(comparison: Comparison, most: int = MOST_ROWS) -> Comparison:
    """Give the part of a comparison that can be shown: its ``most`` first rows of :func:`ranked`, in their order.

    The base of a conversion is shown with it, though the rows are then more than ``most``. Labels, marks of the best
    and corrected p values stay those of the whole. A comparison of few rows is given as it is.
    """
    if len(comparison.rows) <= most:
        return comparison
    chosen = set(ranked(comparison)[:most])
    chosen |= {base for row, base in bases(comparison).items() if row in chosen}
    numbers = sorted(chosen)
    places = {number: place for place, number in enumerate(numbers)}
    return Comparison(
        [comparison.rows[number] for number in numbers],
        comparison.frame.iloc[numbers].reset_index(drop=True),
        [comparison.labels[number] for number in numbers],
        frozenset((places[row], column) for row, column in comparison.best if row in places),
        [part for group in comparison.groups if len((part := _part(group, places)).rows) > 1],
        {places[row]: p for row, p in comparison.tied.items() if row in places},
        comparison,
        frozenset((places[row], column) for row, column in comparison.overlapping if row in places),
        {places[row]: mark for row, mark in comparison.among.items() if row in places},
    )


def ranked(comparison: Comparison) -> list[int]:
    """Give the numbers of all rows, those first that a reader wants to see first.

    Rows that are the best of their group in any column come first, then the first row of each group of comparable rows,
    by mask AP and then FPS, the second of each, and so on. A part of the rows that failed or were skipped comes before
    the last of them.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number in comparison.with_status("ok"):
        groups.setdefault(comparison_key(comparison.rows[number]), []).append(number)
    best = sorted({row for row, _ in comparison.best - comparison.overlapping})
    in_turn = [row for rank in itertools.zip_longest(*groups.values()) for row in rank if row is not None]
    failed, skipped = comparison.failed(), comparison.with_status("skipped")
    well = list(dict.fromkeys((*best, *in_turn)))
    unfinished = [*failed[:MOST_UNFINISHED], *skipped[:MOST_UNFINISHED]]
    first = max(0, MOST_ROWS - len(unfinished))
    return list(dict.fromkeys((*well[:first], *unfinished, *well[first:], *failed, *skipped)))


def best_of(comparison: Comparison, rows: Sequence[int], most: int = MOST_LINES) -> list[int]:
    """Give those of the rows that are shown where no more than ``most`` can be, in the order that they have."""
    if len(rows) <= most:
        return list(rows)
    wanted = set(rows)
    chosen = set([row for row in ranked(comparison) if row in wanted][:most])
    return [row for row in rows if row in chosen]


def cut_words(comparison: Comparison) -> str:
    """Say in a sentence which rows of how many are shown, and where all are; "" where all are shown."""
    whole = comparison.whole
    if whole is None:
        return ""
    counts = [
        f"{len(part):,} of {len(of):,} that {what}"
        for what, part, of in (
            ("ended well", comparison.with_status("ok"), whole.with_status("ok")),
            ("did not", comparison.failed(), whole.failed()),
            ("were skipped", comparison.with_status("skipped"), whole.with_status("skipped")),
        )
        if of
    ]
    return (
        f"{len(comparison.rows):,} of {len(whole.rows):,} rows are shown ({', '.join(counts)}): those that are the "
        "best in any column, then of each group of comparable rows the first by mask AP and FPS. Marks of the best and "
        "p values are of all rows, and comparison.csv and comparison.json hold all of them."
    )


def few_words(shown: int, of: int, what: str = "rows") -> str:
    """Say behind a caption that not all are shown: `` The best 60 of 300 rows are shown.``; "" where all are."""
    return "" if shown >= of else f" The best {shown:,} of {of:,} {what} are shown."


def listed(labels: Iterable[str]) -> str:
    """Join labels, at most :data:`MOST_NAMES` of them, and say how many more there are."""
    names = list(labels)
    more = len(names) - MOST_NAMES
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:MOST_NAMES])} and {more:,} more"


def _part(group: Group, places: dict[int, int]) -> Group:
    kept = [row for row in group.rows if row in places]
    pairs = {
        metric: {(places[a], places[b]): found for (a, b), found in of.items() if a in places and b in places}
        for metric, of in group.pairs.items()
    }
    paired = None if group.paired is None else sum(row in places for row in group.rows[: group.paired])
    return Group(tuple(places[row] for row in kept), group.replicates, pairs, paired)
