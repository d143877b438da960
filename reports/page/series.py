"""The runs of a history as series: a series holds the results of one and the same measurement over many commits."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import UserError, nearest
from bench.history.runs import Run
from bench.history.store import History
from bench.schema.row import Row
from bench.schema.settings import SERIES, held_equal, lines
from reports.table.columns import COLUMNS, INTERVALS
from reports.table.machine import machine_key
from reports.table.naming import row_labels

FIGURES = tuple(
    name
    for name, column in COLUMNS.items()
    if column.decimals is not None and not any(name in ends for ends in INTERVALS.values())
)
"""The columns that hold numbers and are not the end of another column's interval."""


@dataclass(frozen=True)
class Measured:
    """A result of a series; ``place`` is that of its run among all runs that were asked for."""

    place: int
    run: Run
    row: Row


@dataclass(frozen=True)
class Point:
    """A figure of one run in the unit of its column; ``low`` and ``high`` end its interval, None where it has none."""

    place: int
    run: Run
    value: float
    low: float | None
    high: float | None


@dataclass
class Series:
    """Results that may be compared with each other, in the order in which their runs were appended.

    label: model, backbone, library, and what tells the series from the others
    setting: dataset, device, precision, batch size and machine, which are the same for all results
    """

    label: str = ""
    setting: str = ""
    measured: list[Measured] = field(default_factory=list)

    def points(self, metric: str) -> list[Point]:
        """The figures of a column of :data:`FIGURES`, a point for each result that ended well and has the figure."""
        low, high = INTERVALS.get(metric, (None, None))
        points = []
        for one in self.measured:
            value = COLUMNS[metric].value(one.row) if one.row.result.status == "ok" else None
            if value is not None:
                ends = [COLUMNS[end].value(one.row) if end else None for end in (low, high)]
                points.append(Point(one.place, one.run, float(value), *ends))
        return points


def read_series(history: History, runs: Sequence[Run], model: str | None = None) -> list[Series]:
    """The series of some runs, sorted by their labels; ``model`` takes the configuration of that name alone.

    Two results that differ in machine, dataset, device, precision or in any other setting that a comparison holds
    equal belong to two series. A result that several runs of one commit hold is taken once.

    Raises:
        UserError: no result is of that model; the message names the nearest that are.
    """
    if model is not None and model not in (known := {name for run in runs for name in run.models}):
        raise UserError(f"{history.path}: no result of the model {model!r}; {nearest(model, known)}")
    measured = list(_read(history, runs, model))
    keys = [_key(one.row) for one in measured]
    # Jobs of one run that differ in something else, such as their weights, are told apart by their own names.
    times = Counter((one.run.id, key) for one, key in zip(measured, keys, strict=True))
    unclear = {key for (_, key), count in times.items() if count > 1}
    series: dict[tuple[Any, ...], Series] = {}
    for one, key in zip(measured, keys, strict=True):
        name = (*key, one.row.path.parent.name) if key in unclear else key
        series.setdefault(name, Series()).measured.append(one)
    newest = [
        Row(one.row.path if key[-1] == one.row.path.parent.name else Path("result.json"), one.row.result, "")
        for key, of_key in series.items()
        for one in of_key.measured[-1:]
    ]
    for one_series, label, row in zip(series.values(), row_labels(newest), newest, strict=True):
        one_series.label, one_series.setting = label, _setting_text(row)
    return sorted(series.values(), key=lambda one_series: (one_series.label, one_series.setting))


def _read(history: History, runs: Sequence[Run], model: str | None) -> Iterator[Measured]:
    seen: set[tuple[str, str, str | None]] = set()
    for place, run in enumerate(runs):
        if model is not None and model not in run.models:
            continue
        for archived in history.results(run):
            identity = (archived.job, archived.sha256, run.commit)
            if identity in seen:
                continue
            seen.add(identity)
            try:
                row = Row(Path(archived.job) / "result.json", archived.parse(), "")
            except UserError as error:
                print(f"warning: run {run.id}: {error}; left out", file=sys.stderr)
                continue
            if model is None or row.setting("model", "name") == model:
                yield Measured(place, run, row)


def _key(row: Row) -> tuple[Any, ...]:
    """What two results must share to be one series."""
    return tuple(_equal(setting.equal(row.result)) for setting in held_equal(SERIES))


def _equal(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)


def _setting_text(row: Row) -> str:
    cpu, cores, _, gpu = machine_key(row)
    parts = (
        *lines(row.result),
        *(part if part != "None" else None for part in (gpu, cpu)),
        f"{cores} cores" if cores != "None" else None,
    )
    return ", ".join(str(part) for part in parts if part)
