"""Cells of CSV files that a spreadsheet shows as they are, and never computes."""

from __future__ import annotations

from typing import TypeVar

from bench.errors import visible

T = TypeVar("T")

_BEGIN_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take a cell that begins with one of these for a formula (OWASP, "CSV Injection")."""


def plain_cell(value: T) -> T | str:
    """Give a cell: of a text that would be a formula, an apostrophe comes first; numbers stay as they are."""
    if not isinstance(value, str):
        return value
    return visible(f"'{value}" if value.startswith(_BEGIN_FORMULAS) else value)
