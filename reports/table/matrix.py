"""Write the differences between every two comparable rows as text, CSV and JSON."""

from __future__ import annotations

import csv
import functools
import io
import json
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.files.json_file import opened_atomically
from bench.schema.settings import lines, telling
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


def write_differences(comparison: Comparison, folder: Path) -> None:
    """Write a record of every pair, by :func:`pair_columns`, to ``differences.csv`` and ``differences.json``.

    Tens of thousands of pairs are written one after the other; what they say of a row is spelled once for each row, and
    a number once for both files.
    """
    columns = pair_columns()
    form = ",\n  ".join(f"{json.dumps(name)}: %s" for name in columns)
    with (
        opened_atomically(folder / "differences.csv") as table,
        opened_atomically(folder / "differences.json") as records,
    ):
        table.write(_bytes(",".join(columns) + "\n"))
        begin = "[\n {\n  "
        for cells, values in _records(comparison):
            table.write(_bytes(",".join(cells) + "\n"))
            records.write(_bytes(begin + form % (*values,)))
            begin = "\n },\n {\n  "
        records.write(b"[]\n" if begin.startswith("[") else b"\n }\n]\n")


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


Texts = list[str]


def _records(comparison: Comparison) -> Iterator[tuple[Texts, Texts]]:
    """Give the values of each pair in the order of :func:`pair_columns`, as cells of a CSV and as JSON."""
    shared = (*_shared(), "images")
    of_row = functools.cache(lambda row: _both(comparison.labels[row], comparison.cell(row, "result")))
    of_both = functools.cache(lambda row: _both(*(comparison.cell(row, name) for name in shared)))
    for group in comparison.groups:
        count = str(group.replicates)
        for better, worse in group.pairs["mask_ap"]:
            (cells, values), (worse_cells, worse_values) = of_row(better), of_row(worse)
            shared_cells, shared_values = of_both(better)
            cells = [cells[0], worse_cells[0], *shared_cells, count, cells[1], worse_cells[1]]
            values = [values[0], worse_values[0], *shared_values, count, values[1], worse_values[1]]
            for metric in METRICS:
                figures, as_json = _figures(group.difference(metric, better, worse))
                cells[-2:-2], values[-2:-2] = figures, as_json
            yield cells, values


def _figures(difference: Difference | None) -> tuple[Texts, Texts]:
    """Give the :data:`FIELDS` of a difference, which are numbers but for the last."""
    if difference is None:
        return [""] * len(FIELDS), ["null"] * len(FIELDS)
    *numbers, significant = _fields_of(difference)
    texts = [repr(number) for number in numbers]
    return [*texts, str(significant)], [*texts, "true" if significant else "false"]


_fields_of = operator.attrgetter(*FIELDS)


def _both(*values: Any) -> tuple[Texts, Texts]:
    return [_cell(value) for value in values], [json.dumps(value, ensure_ascii=False) for value in values]


def _cell(value: Any) -> str:
    """Give one cell as a CSV holds it, in quotation marks where it must be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([plain_cell(value), 0])
    return line.getvalue()[:-2]


def _shared() -> list[str]:
    """Give the settings that both rows of a pair share."""
    return [setting.key for setting in telling()]


def _markdown(difference: Difference | None) -> str:
    if difference is None:
        return ""
    text = f"{difference_text(difference)} ({p_text(difference.p_holm)})".replace("<", r"\<")
    return f"**{text}**" if difference.significant else text
