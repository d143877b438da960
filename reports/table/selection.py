"""The answer to "which model is best, if it must be this quick and fit in so much memory?", and why others fell out."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError, nearest
from reports.table.columns import COLUMNS
from reports.table.comparison import Comparison, load
from reports.table.machine import machine_key


@dataclass(frozen=True)
class Selection:
    """Rows of a comparison, by their numbers.

    satisfying: the rows that meet every condition, the best first
    tied: those among them whose mask AP is not distinguishable from the first one's (where that was asked for)
    fallen: (row, why) of all others
    """

    satisfying: list[int]
    tied: list[int]
    fallen: list[tuple[int, str]]


def select(comparison: Comparison, where: str | None, best: str | None) -> Selection:
    """Rows that meet ``where``, a condition on columns in pandas' query syntax, ordered by the column ``best``.

    A row that did not end well meets nothing, and an empty cell no condition on it.

    Raises:
        UserError: no such column, no condition that pandas understands, or a column of which no direction is better.
    """
    conditions = split_conditions(where) if where else []
    met = {condition: _evaluate(comparison, condition) for condition in conditions}
    satisfying, fallen = [], []
    for number, row in enumerate(comparison.rows):
        unmet = [condition for condition in conditions if not met[condition][number]]
        if row.result.status != "ok":
            reason = comparison.text(number, "reason")
            fallen.append((number, row.result.status + (f": {reason}" if reason else "")))
        elif unmet:
            fallen.append(
                (number, "; ".join(f"{condition}: {_values(comparison, number, condition)}" for condition in unmet))
            )
        elif best and comparison.cell(number, best if best in COLUMNS else _unknown(best)) is None:
            fallen.append((number, f"{best}: not measured"))
        else:
            satisfying.append(number)
    if best:
        direction = COLUMNS[best].better if best in COLUMNS else _unknown(best)
        if direction is None:
            directed = [name for name, column in COLUMNS.items() if column.better]
            raise UserError(f"--best {best}: neither more nor less of it is better; {nearest(best, directed)}")
        satisfying.sort(key=lambda number: comparison.cell(number, best), reverse=direction == "high")
    tied = _not_distinguishable(comparison, satisfying) if best == "mask_ap" else []
    return Selection(satisfying, tied, fallen)


def split_conditions(where: str) -> list[str]:
    """The parts of a condition that are joined by ``and``, as they are written; whole where it is no Python expression
    (pandas allows a little more)."""
    try:
        tree = ast.parse(where.strip(), mode="eval").body
    except SyntaxError:
        return [where]
    if not isinstance(tree, ast.BoolOp) or not isinstance(tree.op, ast.And):
        return [where.strip()]
    return [ast.get_source_segment(where.strip(), value) or where for value in tree.values]


def answer(comparison: Comparison, where: str | None, best: str | None) -> tuple[str, bool]:
    """The selection in words, and whether any row is left."""
    found = select(comparison, where, best)
    asked = [*dict.fromkeys([*([best] if best else []), *(_names(where) if where else [])])]
    condition = f" with {where}" if where else ""
    lines: list[str] = []
    if not found.satisfying:
        lines.append(f"no row{condition}")
    elif best:
        lines.append(f"best {best}{condition}:")
    else:
        lines.append(f"rows{condition}:")
    for place, row in enumerate(found.satisfying):
        if best and place == 1:
            lines.append("then:")
        mark = " (not distinguishable from the best)" if row in found.tied else ""
        lines.append(f"  {comparison.labels[row]}: {_figures(comparison, row, asked)}{mark}")
    if found.fallen:
        lines.append("fell out:")
        lines += [f"  {comparison.labels[row]}: {why}" for row, why in found.fallen]
    lines += [f"! {warning}" for warning in _unlike(comparison, found.satisfying)]
    return "\n".join(lines), bool(found.satisfying)


def answer_from(sources: Sequence[Path], where: str | None, best: str | None) -> tuple[str, bool]:
    """:func:`answer` from result files.

    Raises:
        UserError: as :func:`select`, or no result could be read.
    """
    return answer(load(sources, Path.cwd()), where, best)


def _evaluate(comparison: Comparison, condition: str) -> list[bool]:
    for name in _names(condition):
        if name not in COLUMNS:
            _unknown(name)
    try:
        met = comparison.frame.eval(condition, engine="python")
    except Exception as error:  # pandas raises whatever its parser or the comparison itself does
        raise UserError(
            f"--where {condition!r}: {error}; give conditions on columns, as fps_model >= 20 and library == 'mmdet'"
        ) from error
    if not isinstance(met, pd.Series) or not pd.api.types.is_bool_dtype(met.dtype):
        raise UserError(f"--where {condition!r}: is no condition; give one, as {condition} >= 20")
    return [bool(value) for value in met.fillna(False)]


def _names(condition: str) -> list[str]:
    """The names in a condition, in order; none where it is no Python expression."""
    try:
        tree = ast.parse(condition.strip(), mode="eval")
    except SyntaxError:
        return []
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return [*dict.fromkeys(node.id for node in sorted(names, key=lambda node: node.col_offset))]


def _unknown(name: str) -> str:
    raise UserError(f"{name}: no such column; {nearest(name, COLUMNS)}")


def _values(comparison: Comparison, row: int, condition: str) -> str:
    texts = {name: comparison.text(row, name) or "not measured" for name in _names(condition)}
    if len(texts) == 1:
        return "".join(texts.values())
    return ", ".join(f"{name} {text}" for name, text in texts.items()) or "not met"


def _figures(comparison: Comparison, row: int, names: Sequence[str]) -> str:
    texts = []
    for name in names:
        unit = COLUMNS[name].unit
        text = f"{name} {comparison.text(row, name) or 'not measured'}{f' {unit}' if unit else ''}"
        texts.append(text + (f" {comparison.interval(row)}" if name == "mask_ap" and comparison.interval(row) else ""))
    return ", ".join(texts) or comparison.text(row, "status")


def _not_distinguishable(comparison: Comparison, rows: Sequence[int]) -> list[int]:
    tied = []
    for group in comparison.groups:
        for row in rows[1:]:
            if rows[0] in group.rows and row in group.rows:
                difference = group.difference("mask_ap", rows[0], row)
                if difference and not difference.significant:
                    tied.append(row)
    return tied


def _unlike(comparison: Comparison, numbers: Sequence[int]) -> list[str]:
    """What rows that are compared must not differ in. Precision and batch size are a user's to choose."""
    rows = [comparison.rows[number] for number in numbers]
    facts: dict[str, set[Any]] = {
        "machine": {machine_key(row) for row in rows if row.result.machine},
        "dataset": {comparison.text(number, "dataset") for number in numbers},
        "detections setting": {str(row.setting("detections")) for row in rows},
    }
    return [
        f"these rows are not of one {name}, so they cannot be compared"
        for name, kinds in facts.items()
        if len(kinds) > 1
    ]
