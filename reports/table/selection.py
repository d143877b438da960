"""Answer which row is best among those that meet some conditions, and why the others fell out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import UserError, nearest
from reports.table.columns import COLUMNS
from reports.table.comparison import Comparison, load
from reports.table.condition import Condition, parse
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

    where: a condition on columns (:mod:`reports.table.condition`). A row that did not end well meets no condition, nor
        does an empty cell.

    Raises:
        UserError: there is no such column, the condition holds something that none may hold, or neither direction of
            the column ``best`` is better.
    """
    conditions = _parsed(where).parts if where else []
    satisfying, fallen = [], []
    for number, row in enumerate(comparison.rows):
        unmet = [condition for condition in conditions if not condition.met(partial(comparison.cell, number))]
        if row.result.status != "ok":
            reason = comparison.text(number, "reason")
            fallen.append((number, row.result.status + (f": {reason}" if reason else "")))
        elif unmet:
            fallen.append((number, "; ".join(f"{one.text}: {_values(comparison, number, one)}" for one in unmet)))
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


def answer(comparison: Comparison, where: str | None, best: str | None) -> tuple[str, bool]:
    """Give the selection as text, and whether any row is left."""
    selection = select(comparison, where, best)
    asked = [*dict.fromkeys([*([best] if best else []), *(_parsed(where).columns if where else [])])]
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


def _unknown(name: str) -> str:
    raise UserError(f"{name}: no such column; {nearest(name, COLUMNS)}")


def _parsed(where: str) -> Condition:
    try:
        return parse(where)
    except UserError as error:
        raise UserError(f"--where {error}") from error


def _values(comparison: Comparison, row: int, condition: Condition) -> str:
    texts = {name: comparison.text(row, name) or "not measured" for name in condition.columns}
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
