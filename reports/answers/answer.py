"""One answer of the first screen, and names of rows in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.table.comparison import Comparison

MOST_NAMES = 3
"""Rows that a sentence names."""


@dataclass(frozen=True)
class Part:
    """A piece of a sentence; ``anchor`` is the part of the page that it leads to, as ``#plots``, "" for none."""

    text: str
    anchor: str = ""


@dataclass(frozen=True)
class Answer:
    """One sentence that is made from the figures: its title, as ``Fastest``, and its pieces in their order."""

    title: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The sentence without links and title."""
        return "".join(part.text for part in self.parts)


class Named:
    """Names the rows of a comparison, each with a link to its line where the page shows it."""

    def __init__(self, shown: Comparison) -> None:
        self._places = {id(row): number for number, row in enumerate(shown.rows)}
        whole = shown.whole or shown
        names = [{mark.name for mark in whole.marks_of(row)} for row in whole.with_status("ok")]
        self._common = set.intersection(*names) if names else set()

    def row(self, comparison: Comparison, number: int) -> Part:
        """Give a row's label with its marks, but for those that every row has."""
        place = self._places.get(id(comparison.rows[number]))
        own = [mark.name for mark in comparison.marks_of(number) if mark.name not in self._common]
        label = comparison.labels[number] + (f" [{', '.join(own)}]" if own else "")
        return Part(label, "" if place is None else f"#row-{place}")

    def rows(self, comparison: Comparison, numbers: Sequence[int]) -> list[Part]:
        """Give the first rows' labels, separated by commas, and how many more there are."""
        parts = joined(", ", [[self.row(comparison, number)] for number in numbers[:MOST_NAMES]])
        more = len(numbers) - MOST_NAMES
        return parts if more <= 0 else [*parts, Part(f" and {more:,} more")]


def counted(number: int, thing: str) -> str:
    """Give ``1 row`` or ``1,200 rows``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def joined(separator: str, pieces: Iterable[Sequence[Part]]) -> list[Part]:
    """Put a separator between pieces of a sentence."""
    parts: list[Part] = []
    for piece in pieces:
        parts += [Part(separator), *piece] if parts else piece
    return parts
