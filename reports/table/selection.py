"""Answer which row is best among those that meet some conditions, and why the others fell out."""

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
    tied: those of them whose mask AP is not distinguishable from the first one's; empty unless mask AP decides
    fallen: (row, why) of all others
    """

    satisfying: list[int]
    tied: list[int]
    fallen: list[tuple[int, str]]


def select(comparison: Comparison, where: str | None, best: str | None) -> Selection:
    """Choose the rows that meet ``where``, and order them by the column ``best``.

    where: a condition on columns in pandas' query syntax. A row that did not end well meets no condition, nor does an
        empty cell.

    Raises:
        UserError: there is no such column, pandas does not understand the condition, or neither direction of the
            column ``best`` is better.
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
    """Split a condition at its ``and``; give it whole where it is no Python expression, which pandas may still take."""
    try:
        tree = ast.parse(where.strip(), mode="eval").body
    except SyntaxError:
        return [where]
    if not isinstance(tree, ast.BoolOp) or not isinstance(tree.op, ast.And):
        return [where.strip()]
    return [ast.get_source_segment(where.strip(), value) or where for value in tree.values]


def answer(comparison: Comparison, where: str | None, best: str | None) -> tuple[str, bool]:
    """Give the selection as text, and whether any row is left."""
    selection = select(comparison, where, best)
    asked = [*dict.fromkeys([*([best] if best else []), *(_names(where) if where else [])])]
    condition = f" with {where}" if where else ""
    lines: list[str] = []
    if not selection.satisfying:
        lines.append(f"no row{condition}")
    elif best:
        lines.append(f"best {best}{condition}:")
    else:
        lines.append(f"rows{condition}:")
    for place, row in enumerate(selection.satisfying):
        if best and place == 1:
            lines.append("then:")
        mark = " (not distinguishable from the best)" if row in selection.tied else ""
        lines.append(f"  {comparison.labels[row]}: {_figures(comparison, row, asked)}{mark}")
    if selection.fallen:
        lines.append("fell out:")
        lines += [f"  {comparison.labels[row]}: {why}" for row, why in selection.fallen]
    lines += [f"! {warning}" for warning in _unlike(comparison, selection.satisfying)]
    return "\n".join(lines), bool(selection.satisfying)


def answer_from(sources: Sequence[Path], where: str | None, best: str | None) -> tuple[str, bool]:
    """Read the results and give their :func:`answer`.

    Raises:
        UserError: as :func:`select`, or no result can be read.
    """
    return answer(load(sources, Path.cwd()), where, best)


def _evaluate(comparison: Comparison, condition: str) -> list[bool]:
    for name in _names(condition):
        if name not in COLUMNS:
            _unknown(name)
    try:
        met = comparison.frame.eval(condition, engine="python")
    except Exception as error:  # pandas, its parser and the comparison raise errors without a common class
        raise UserError(
            f"--where {condition!r}: {error}; give conditions on columns, as fps_model >= 20 and library == 'mmdet'"
        ) from error
    if not isinstance(met, pd.Series) or not pd.api.types.is_bool_dtype(met.dtype):
        raise UserError(f"--where {condition!r}: is no condition; give one, as {condition} >= 20")
    return [bool(value) for value in met.fillna(False)]


def _names(condition: str) -> list[str]:
    """List the names in a condition, in their order; none where it is no Python expression."""
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
    """Name what the rows differ in but must not; precision and batch size may differ, since a user chooses them."""
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
