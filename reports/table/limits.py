"""Check limits that rows of the comparison must keep, such as ``fps_model`` ``">= 20"``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import UserError, nearest
from bench.schema.words import figure_text
from reports.table.columns import COLUMNS, INTERVALS, decimals_of
from reports.table.comparison import Comparison
from reports.table.condition import OPERATORS, check_word, empty_text, held


@dataclass(frozen=True)
class Limit:
    """A limit of a column, such as ``fps_model`` ``>= 20``; ``bound`` is a string for columns of text."""

    column: str
    text: str
    compare: Callable[[Any, Any], bool]
    bound: float | str

    def violation(self, comparison: Comparison, row: int) -> str | None:
        """Say how the row violates the limit, with its value and interval; None where the row keeps the limit.

        A value that was not measured violates every limit.
        """
        wanted = f"{self.column} {self.text}"
        value = comparison.cell(row, self.column)
        asked = held(self.column, value)
        if asked is None:
            return f"{wanted}: not measured"
        if self.compare(asked, self.bound):
            return None
        unit = COLUMNS[self.column].unit
        parts = (f"{wanted}: {self._text(comparison, row, value)}", unit, self._ends(comparison, row))
        return " ".join(part for part in parts if part)

    def _text(self, comparison: Comparison, row: int, value: Any) -> str:
        """Give the value with enough decimals to see that it violates the limit."""
        if not isinstance(value, float):
            return comparison.text(row, self.column) or empty_text(self.column)
        return figure_text(value, decimals_of(self.column, value), lambda figure: self.compare(figure, self.bound))

    def _ends(self, comparison: Comparison, row: int) -> str:
        ends = [comparison.text(row, end) for end in INTERVALS.get(self.column, ())]
        return f"[{', '.join(ends)}]" if all(ends) and ends else ""


def parse_limits(conditions: Mapping[str, object]) -> list[Limit]:
    """Parse limits, each given as a column's name and a text.

    Raises:
        UserError: there is no such column or operator, or the column holds numbers and the text has none.
    """
    return [_parse(column, text) for column, text in conditions.items()]


def _parse(column: str, text: object) -> Limit:
    if column not in COLUMNS:
        raise UserError(f"{column}: no such column; {nearest(column, COLUMNS)}")
    match = re.fullmatch(r"\s*(>=|<=|==|!=|>|<)\s*([^\s=<>!].*?)\s*", text) if isinstance(text, str) else None
    example = _example(column)
    if match is None:
        raise UserError(f"{column}={text!r}: must be one of {' '.join(OPERATORS)} and a value, as {example}")
    sign, bound = match.groups()
    compare = OPERATORS[sign]
    if COLUMNS[column].decimals is None:
        if sign not in ("==", "!="):
            raise UserError(f"{column}={text!r}: holds text, which can be == or != only, as {example}")
        word = bound.strip("'\"")
        check_word(column, word)
        return Limit(column, f"{sign} {bound}", compare, word)
    try:
        number = float(bound)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):  # every value keeps a limit of infinity, and none one of nan
        raise UserError(f"{column}={text!r}: {bound!r} is no number; give one, as {example}")
    return Limit(column, f"{sign} {bound}", compare, number)


def _example(column: str) -> str:
    if COLUMNS[column].decimals is None:
        return f'{column}="== text"'
    return f'{column}="<= 100"' if COLUMNS[column].better == "low" else f'{column}=">= 20"'
