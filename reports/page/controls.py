"""What the page's script needs to choose rows as ``python -m reports --where ... --best ...`` does."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

from bench.schema.marks import MARK_NAMES, why_never_best
from bench.schema.metrics import FIGURES, NOISE
from reports.table.best.unlike import FORBIDDEN, TOLD, differences
from reports.table.columns import COLUMNS, INTERVALS
from reports.table.comparison import Comparison
from reports.table.condition import ALLOWED, DEEPEST, EMPTY, LONGEST, MARKS

MEMORY = ("process_device_mb", "peak_reserved_mb", "host_rss_mb")
"""Columns of memory; a limit is of the first that any row has: on a GPU that of the whole process, else the host's."""


@dataclass(frozen=True)
class Limit:
    """A number that rows must keep: ``sign`` is ``>=`` or ``<=``."""

    column: str
    title: str
    sign: str
    unit: str


@dataclass(frozen=True)
class Choice:
    """A word that rows must have: one of ``values``; of a licence also none but one."""

    column: str
    title: str
    values: tuple[str, ...]
    also_not: bool


def controls(comparison: Comparison) -> dict[str, Any]:
    """Give the controls beside the table: only those of figures that were measured, and of words that differ."""
    measured = set(comparison.measured())
    memory = next((name for name in MEMORY if name in measured), "")
    limits = (
        Limit("fps_model", "Least FPS", ">=", ""),
        Limit(memory, f"Most memory ({COLUMNS[memory].title})" if memory else "", "<=", "MB"),
        Limit("energy_j_per_image", "Most energy", "<=", "J/image"),
    )
    words = [
        Choice(name, COLUMNS[name].title, _values(comparison, name), name == "licence")
        for name in ("licence", "library", "precision")
    ]
    bests = [name for name, column in COLUMNS.items() if column.better and name in measured]
    return {
        "limits": [limit for limit in limits if limit.column in measured],
        "choices": [choice for choice in words if len(choice.values) > 1],
        "bests": [(name, comparison.title(name)) for name in bests],
        "best_by": next((name for name in ("mask_ap", "fps_model", *bests) if name in bests), ""),
    }


def figures(comparison: Comparison) -> dict[str, Any]:
    """Give what the cells of the table do not tell, as JSON.

    columns: of every column whether it holds text, which direction is better, whether a mark can forbid its best,
        what its empty cell means if that is known, and the words that it can hold if they are several in one cell
    rows: by number, each row of the table: label, status, reason, why it is never the best in speed, columns of noise,
        the ends of its intervals (null: without end), its model's family, and the later rows that are not
        distinguishable from it in mask AP
    unlike: in what rows differ that a report holds equal (:mod:`reports.table.best.unlike`)
    grey: the heads of the columns that hold noise in any row
    sources: where the results lie, from the page's folder
    rules: what a condition may be, and the sentences of warnings
    """
    rows = [number for number, row in enumerate(comparison.rows) if row.result.status != "skipped"]
    alike = _alike(comparison)
    return {
        "columns": {
            name: {
                "text": column.decimals is None,
                "better": column.better,
                "timed": name in FIGURES and FIGURES[name].of_time,
                "unit": column.unit,
            }
            | column_rules(name)
            for name, column in COLUMNS.items()
        },
        "rows": {number: _row(comparison, number) | {"alike": alike.get(number, [])} for number in rows},
        "unlike": [asdict(one) for one in differences(comparison.rows)],
        "grey": _grey(comparison),
        "sources": _sources(comparison),
        "rules": {"allowed": ALLOWED, "longest": LONGEST, "deepest": DEEPEST}
        | {"forbidden": FORBIDDEN, "told": TOLD, "noise": NOISE},
    }


def column_rules(column: str) -> dict[str, Any]:
    """Give what the grammar must know of a column beside its kind: what its empty cell means, the words it can hold."""
    empty = {"empty": EMPTY[column]} if column in EMPTY else {}
    return empty | ({"words": MARK_NAMES} if column == MARKS else {})


def _row(comparison: Comparison, number: int) -> dict[str, Any]:
    ends = {name: comparison.ends(number, name) for name in INTERVALS}
    return {
        "label": comparison.labels[number],
        "model": comparison.cell(number, "model"),
        "status": comparison.rows[number].result.status,
        "reason": comparison.text(number, "reason"),
        "never": why_never_best(comparison.rows[number].result),
        "noise": [name for name in COLUMNS if comparison.noise(number, name)],
        "ends": {name: _json(found) for name, found in ends.items() if found},
    }


def _grey(comparison: Comparison) -> dict[str, str]:
    rows = range(len(comparison.rows))
    names = [name for name in COLUMNS if any(comparison.noise(row, name) for row in rows)]
    return {name: comparison.title(name) for name in names}


def _json(ends: tuple[float, float]) -> list[float | None]:
    return [end if math.isfinite(end) else None for end in ends]


def _alike(comparison: Comparison) -> dict[int, list[int]]:
    """Give for each row the later ones of its group that are not distinguishable from it in mask AP."""
    found: dict[int, list[int]] = {}
    for group in comparison.groups:
        for (first, second), difference in group.pairs["mask_ap"].items():
            if not difference.significant:
                found.setdefault(min(first, second), []).append(max(first, second))
    return found


def _values(comparison: Comparison, column: str) -> tuple[str, ...]:
    found = {comparison.text(row, column) for row in range(len(comparison.rows))}
    return tuple(sorted(found - {""}))


def _sources(comparison: Comparison) -> list[str]:
    """Give the folders whose results these are, from the page's own: what lies before ``jobs/``, each once."""
    folders = [_folder(PurePath(row.shown)) for row in comparison.rows]
    return sorted(set(folders))


def _folder(result: PurePath) -> str:
    parts = result.parts
    return str(PurePath(*parts[:-3])) if parts[-3:-2] == ("jobs",) else str(result)
