"""Answer which row is best among those that meet some conditions, and why the others fell out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.errors import UserError, nearest
from bench.schema.marks import why_never_best
from bench.schema.metrics import FIGURES, NOISE
from reports.table.best.cells import overlap
from reports.table.best.unlike import unlike
from reports.table.checks import warnings
from reports.table.columns import COLUMNS, INTERVALS
from reports.table.comparison import Comparison, load
from reports.table.condition import Condition, empty_text, parse
from reports.table.differences import apart

_MOST_MORE = 15
"""Decimals that are added to a figure at most."""


@dataclass(frozen=True)
class Selection:
    """Rows of a comparison, by their numbers.

    satisfying: the rows that meet every condition, the best first
    tied: those of them that are not distinguishable from the first one, by the test of mask AP or by the intervals of
        FPS; empty where another column decides
    fallen: (row, why) of those that do not meet every condition
    unsure: (row, why) of those of which that is not known well enough, since a limit lies inside an interval
    """

    satisfying: list[int]
    tied: list[int]
    fallen: list[tuple[int, str]]
    unsure: list[tuple[int, str]] = field(default_factory=list)


def select(comparison: Comparison, where: str | None, best: str | None) -> Selection:
    """Choose the rows that meet ``where``, and order them by the column ``best``.

    where: a condition on columns (:mod:`reports.table.condition`). A row that did not end well meets no condition, nor
        does an empty cell. A limit inside a figure's 95 % interval leaves open whether the row meets it.
    best: of a speed, no row with a mark that forbids it (:mod:`bench.schema.marks`) is the best: it falls out

    Raises:
        UserError: there is no such column, the condition holds something that none may hold, or neither direction of
            the column ``best`` is better.
    """
    wanted = _parsed(where) if where else None
    satisfying: list[int] = []
    fallen: list[tuple[int, str]] = []
    unsure: list[tuple[int, str]] = []
    for number, row in enumerate(comparison.rows):
        met = wanted is None or _decided(comparison, number, wanted)
        if row.result.status != "ok":
            reason = comparison.text(number, "reason")
            fallen.append((number, row.result.status + (f": {reason}" if reason else "")))
        elif wanted and met is False:
            fallen.append((number, _why(comparison, number, wanted, False)))
        elif best and comparison.cell(number, best if best in COLUMNS else _unknown(best)) is None:
            fallen.append((number, f"{best}: not measured"))
        elif best and comparison.noise(number, best):
            fallen.append((number, f"{best} {comparison.text(number, best)}: {NOISE}"))
        elif best and _of_time(best) and (why := why_never_best(row.result)):
            fallen.append((number, f"{why}, so its {best} is never the best"))
        elif wanted and met is None:
            unsure.append((number, _why(comparison, number, wanted, None)))
        else:
            satisfying.append(number)
    if best:
        direction = COLUMNS[best].better if best in COLUMNS else _unknown(best)
        if direction is None:
            directed = [name for name, column in COLUMNS.items() if column.better]
            raise UserError(f"--best {best}: neither more nor less of it is better; {nearest(best, directed)}")
        satisfying.sort(key=lambda number: comparison.cell(number, best), reverse=direction == "high")
    tied = _not_distinguishable(comparison, satisfying, best) if best in INTERVALS else []
    return Selection(satisfying, tied, fallen, unsure)


def answer(comparison: Comparison, where: str | None, best: str | None) -> tuple[str, bool]:
    """Give the selection as text, and whether any row is left."""
    selection = select(comparison, where, best)
    wanted = _parsed(where) if where else None
    asked = [*dict.fromkeys([*([best] if best else []), *(wanted.columns if wanted else [])])]
    condition = f" with {where}" if where else ""
    lines: list[str] = []
    if not selection.satisfying:
        lines.append(f"no row is known to be one{condition}" if selection.unsure else f"no row{condition}")
    elif best:
        lines.append(f"best {best}{condition}:")
    else:
        lines.append(f"rows{condition}:")
    for place, row in enumerate(selection.satisfying):
        if best and place == 1:
            lines.append("then:")
        mark = " (not distinguishable from the best)" if row in selection.tied else ""
        marked = "; ".join(f"{one.name}: {one.sentence}" for one in comparison.marks_of(row))
        told = f" [{marked}]" if marked and (not asked or any(map(_of_time, asked))) else ""
        lines.append(f"  {comparison.labels[row]}: {_figures(comparison, row, asked, wanted)}{mark}{told}")
        lines += [f"    note: {note}" for note in _notes(comparison, row, asked)] if place == 0 or not best else []
    if selection.unsure:
        lines.append("not known well enough, since the limit lies inside the 95 % interval:")
        lines += [f"  {comparison.labels[row]}: {why}" for row, why in selection.unsure]
    if selection.fallen:
        lines.append("fell out:")
        lines += [f"  {comparison.labels[row]}: {why}" for row, why in selection.fallen]
    lines += [f"! {warning}" for warning in unlike([comparison.rows[number] for number in selection.satisfying])]
    if grey := comparison.noise_meaning(name for name in asked if name != best):
        lines.append(f"! {grey}")
    return "\n".join(lines), bool(selection.satisfying)


def answer_from(sources: Sequence[Path], where: str | None, best: str | None) -> tuple[str, bool]:
    """Read the results and give their :func:`answer`.

    Raises:
        UserError: as :func:`select`, or no result can be read.
    """
    return answer(load(sources, Path.cwd()), where, best)


def _of_time(column: str) -> bool:
    return column in FIGURES and FIGURES[column].of_time


def _unknown(name: str) -> str:
    raise UserError(f"{name}: no such column; {nearest(name, COLUMNS)}")


def _parsed(where: str) -> Condition:
    try:
        return parse(where)
    except UserError as error:
        raise UserError(f"--where {error}") from error


def _notes(comparison: Comparison, row: int, asked: Sequence[str]) -> list[str]:
    """Give what would mislead who takes this row as the answer, such as that others used the GPU."""
    result = comparison.rows[row]
    of_accuracy = not asked or any(name in FIGURES and FIGURES[name].part == "accuracy" for name in asked)
    return list(dict.fromkeys((*(warnings(result) if of_accuracy else ()), *result.result.notes)))


def _decided(comparison: Comparison, row: int, condition: Condition) -> bool | None:
    return condition.decided(partial(comparison.cell, row), partial(comparison.ends, row))


def _why(comparison: Comparison, row: int, wanted: Condition, decided: bool | None) -> str:
    """Name the parts of a condition that decide that a row falls out (False), or that leave it open (None)."""
    parts = [one for one in wanted.parts if _decided(comparison, row, one) is decided]
    return "; ".join(f"{one.text}: {_values(comparison, row, one)}" for one in parts)


def _values(comparison: Comparison, row: int, condition: Condition) -> str:
    more = _more_decimals(comparison, row, condition)
    texts = {name: comparison.text(row, name, more) or empty_text(name) for name in condition.columns}
    texts = {name: text + _interval(comparison, row, name) for name, text in texts.items()}
    texts = {name: text + _grey(comparison, row, name) for name, text in texts.items()}
    if len(texts) == 1:
        return "".join(texts.values())
    return ", ".join(f"{name} {text}" for name, text in texts.items()) or "not met"


def _interval(comparison: Comparison, row: int, name: str) -> str:
    """Give the interval behind a figure that has one, or say that a figure of time has none; else ""."""
    if found := comparison.interval(row, name):
        return f" {found}"
    return " (too few or too unequal batches for an interval)" if comparison.ends(row, name) else ""


def _more_decimals(comparison: Comparison, row: int, condition: Condition) -> int:
    """Give how many more decimals the figures need so that what is printed meets the condition if they do."""

    def printed(name: str, more: int) -> Any:
        value = comparison.cell(row, name)
        return float(comparison.text(row, name, more)) if isinstance(value, float) else value

    met = condition.met(partial(comparison.cell, row))
    enough = (more for more in range(_MOST_MORE) if condition.met(partial(printed, more=more)) == met)
    return next(enough, _MOST_MORE)


def _grey(comparison: Comparison, row: int, name: str) -> str:
    return " (not to be compared)" if comparison.noise(row, name) else ""


def _figures(comparison: Comparison, row: int, names: Sequence[str], condition: Condition | None) -> str:
    texts = []
    more = _more_decimals(comparison, row, condition) if condition else 0
    for name in names:
        unit = COLUMNS[name].unit
        named = comparison.with_limit(name) if name in FIGURES and FIGURES[name].limited else name
        digits = more if condition and name in condition.columns else 0
        text = f"{named} {comparison.text(row, name, digits) or empty_text(name)}{f' {unit}' if unit else ''}"
        text += _grey(comparison, row, name)
        texts.append(text + (f" {found}" if (found := comparison.interval(row, name)) else ""))
    return ", ".join(texts) or comparison.text(row, "status")


def _not_distinguishable(comparison: Comparison, rows: Sequence[int], best: str) -> list[int]:
    """Give those of the rows that may be as good as the first one."""
    if not FIGURES[best].resampled:
        spans = {row: [comparison.cell(row, end) for end in INTERVALS[best]] for row in rows}
        return [row for row in rows[1:] if overlap(spans[row], spans[rows[0]])]
    tied = []
    for group in comparison.groups:
        for row in rows[1:]:
            if rows[0] in group.rows and row in group.rows:
                difference = apart(comparison.rows, group, best, rows[0], row)
                if difference and not difference.significant:
                    tied.append(row)
    return tied
