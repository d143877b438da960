"""Write the differences between every two comparable rows as text, CSV and JSON."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd

from bench.schema.settings import lines, telling
from reports.records import write_records
from reports.table.comparison import Comparison
from reports.table.differences import ALPHA, METRICS, Difference, Group
from reports.table.spreadsheet import plain_cell

MATRIX_MEANING = (
    "Row against column: the difference in points ± half the width of its 95 % interval, by a paired bootstrap over "
    f"images, and its p, corrected by Holm over all pairs. In bold: significant at alpha {ALPHA:g}."
)
MATRIX_ROWS = 40
"""Rows of a matrix; of a larger group the best ones are shown."""

FIELDS = ("difference", "low", "high", "p", "p_holm", "significant")


def pair_columns() -> list[str]:
    """Name the columns of a pair; differences are in points, ``better`` is the row with the higher mask AP."""
    figures = (f"{metric}_{field}" for metric in METRICS for field in FIELDS)
    return ["better", "worse", *_shared(), "images", "replicates", *figures, "better_result", "worse_result"]


def difference_text(difference: Difference) -> str:
    """Say the difference in points as ``better by 1.2 ± 0.4``."""
    size, width = abs(difference.difference), difference.half_width
    decimals = 1 if max(size, width) >= 0.1 or not (size or width) else 2
    word = "worse" if difference.difference < 0 else "better"
    return f"{word} by {size:.{decimals}f} ± {width:.{decimals}f}"


def p_text(p: float) -> str:
    """Give ``p < 0.001``, or p with two digits where it is larger."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def matrix_texts(group: Group, metric: str) -> list[list[str]]:
    """Give Markdown cells above the diagonal and "" elsewhere; no rows at all where no pair has the metric."""
    if not group.pairs[metric]:
        return []
    rows = matrix_rows(group)
    return [
        [
            _markdown(group.difference(metric, first, second)) if place < other else ""
            for other, second in enumerate(rows)
        ]
        for place, first in enumerate(rows)
    ]


def matrix_rows(group: Group) -> tuple[int, ...]:
    """Give the rows of a group that its matrix shows."""
    return group.rows[:MATRIX_ROWS]


def group_conditions(comparison: Comparison, group: Group) -> str:
    """Say what the rows of a group have in common."""
    text = f"{', '.join(lines(comparison.rows[group.rows[0]].result))}; {group.replicates} replicates"
    if len(group.rows) > MATRIX_ROWS:
        text += f"; the best {MATRIX_ROWS} of {len(group.rows)} rows"
    if group.paired is not None:
        text += "; of so many rows only the best are compared with one another, every other one with the best alone"
    return text


def pairs(comparison: Comparison) -> list[dict[str, Any]]:
    """Give a record of every pair in every group, by :func:`pair_columns`; None where a value is absent."""
    records = []
    columns, shared = pair_columns(), (*_shared(), "images")
    for group in comparison.groups:
        for better, worse in group.pairs["mask_ap"]:
            record: dict[str, Any] = dict.fromkeys(columns)
            record |= {"better": comparison.labels[better], "worse": comparison.labels[worse]}
            for name in shared:
                record[name] = comparison.cell(better, name)
            record["replicates"] = group.replicates
            for metric in METRICS:
                if difference := group.difference(metric, better, worse):
                    record |= {f"{metric}_{field}": getattr(difference, field) for field in FIELDS}
            for name, row in (("better_result", better), ("worse_result", worse)):
                record[name] = comparison.cell(row, "result")
            records.append(record)
    return records


def write_differences(comparison: Comparison, folder: Path) -> None:
    """Write ``differences.csv`` and ``differences.json``; without any pair they hold no records."""
    records = pairs(comparison)
    table = pd.DataFrame(records, columns=pair_columns())
    plain = functools.cache(plain_cell)  # a row stands in many pairs
    texts = [name for name in pair_columns() if any(isinstance(value, str) for value in table[name])]
    table.assign(**{name: table[name].map(plain) for name in texts}).to_csv(folder / "differences.csv", index=False)
    write_records(records, folder / "differences.json")


def _shared() -> list[str]:
    """Give the settings that both rows of a pair share."""
    return [setting.key for setting in telling()]


def _markdown(difference: Difference | None) -> str:
    if difference is None:
        return ""
    text = f"{difference_text(difference)} ({p_text(difference.p_holm)})".replace("<", r"\<")
    return f"**{text}**" if difference.significant else text
