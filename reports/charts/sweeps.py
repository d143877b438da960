"""Rows that differ in the batch size alone: what a model gains by waiting for more images."""

from __future__ import annotations

from reports.table.comparison import Comparison, comparison_key

_SAME = ("model", "backbone", "library", "weights", "dataset", "device", "precision", "compile", "input_size")


def sweeps(comparison: Comparison) -> list[list[int]]:
    """The groups of two rows or more that differ in the batch size alone, each by rising batch size."""
    groups: dict[tuple[object, ...], dict[int, int]] = {}
    for number in comparison.with_status("ok"):
        row, size = comparison.rows[number], comparison.cell(number, "batch_size")
        if comparison.cell(number, "fps_model") is None or size is None:
            continue
        names = tuple(comparison.text(number, name) for name in _SAME)
        options = str(row.setting("model", "options"))
        key = (*names, options, *comparison_key(row, but="batch_size"))
        groups.setdefault(key, {})[int(size)] = number
    return [[rows[size] for size in sorted(rows)] for rows in groups.values() if len(rows) > 1]
