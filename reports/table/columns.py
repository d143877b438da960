"""List the columns of the comparison, settings and figures, and give their values in a row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.evaluation.intervals import interval
from bench.schema import facts
from bench.schema.metrics import FIGURES, Figure, shown_in
from bench.schema.row import Row
from bench.schema.settings import SETTINGS, Setting, tabled

INTERVALS = {
    name: (f"{name}_low", f"{name}_high")
    for name in FIGURES
    if {f"{name}_low", f"{name}_high"} <= {figure.name for figure in FIGURES.values() if figure.end}
}
"""For each column with a 95 % interval the columns that hold its lower and its upper end."""


@dataclass(frozen=True)
class Column:
    """A column of the table; ``better`` is None where neither direction is, ``decimals`` is None for text."""

    title: str
    description: str
    value: Callable[[Row], Any]
    unit: str = ""
    better: Literal["high", "low"] | None = None
    decimals: int | None = None


class _Columns(Mapping[str, Column]):
    """The settings that have a column, then the figures of the whole table."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[object, Column]] = {}

    def __iter__(self) -> Iterator[str]:
        yield from (setting.key for setting in tabled())
        yield from shown_in("table")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Column:
        source = SETTINGS[name] if name in SETTINGS and SETTINGS[name].definition else FIGURES[name]
        made = self._made.get(name)
        if made is None or made[0] is not source:
            made = self._made[name] = source, _of_setting(source) if isinstance(source, Setting) else _of_figure(source)
        return made[1]


COLUMNS: Mapping[str, Column] = _Columns()
"""Every column by its name, in the order of the table."""


def setting_columns(*, naming: bool = True) -> list[str]:
    """Give the columns that are settings; without ``naming`` those that every row's name holds are left out."""
    return [setting.key for setting in tabled() if naming or not setting.names]


def dataset_name(row: Row) -> str:
    """Name the dataset, and say how many of its images were used if not all: ``coco (first 100)``."""
    return facts.dataset_name(row.result)


def dataset_files(row: Row) -> tuple[str, str]:
    """Give the absolute paths of the image folder and the annotations; "" where the row names none.

    A result holds only what may be published of them; ``job.json``, which the machine that measured it keeps beside it,
    holds the paths.
    """
    kept = _kept_dataset(row.path.with_name("job.json"))
    names = (kept.get(key) or row.setting("dataset", key) for key in ("images", "annotations"))
    images, annotations = (_absolute(name) if name else "" for name in names)
    return images, annotations


def evaluated_without_images(row: Row) -> bool:
    """Say whether a row was evaluated on annotations alone, since nothing of it read an image."""
    return row.result.accuracy is not None and not dataset_files(row)[0] and bool(dataset_files(row)[1])


def _kept_dataset(job: Path) -> dict[str, str]:
    """Give the dataset of a ``job.json``; empty where there is none, or none that can be read."""
    if not job.is_file():  # a pipe would be waited for
        return {}
    try:
        dataset = json.loads(job.read_text(encoding="utf-8"))["config"]["dataset"]
        return {key: dataset[key] for key in ("images", "annotations") if isinstance(dataset[key], str)}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}


def _absolute(name: Any) -> str:
    """Give the absolute path; "" for what can be none, since a result file may come from anybody."""
    try:
        return str(Path(name).expanduser().resolve())
    except (TypeError, ValueError, RuntimeError):
        return ""


def decimals_of(column: str, value: float) -> int:
    """Give the number of decimals that a figure is printed with.

    It is the column's, raised up to four until two digits show, so that a fast model does not read as 0.0 ms.
    """
    decimals = COLUMNS[column].decimals or 0
    while 0 < abs(value) < 10 ** (1 - decimals) and decimals < 4:
        decimals += 1
    return decimals


def _of_setting(setting: Setting) -> Column:
    value = setting.value
    return Column(
        setting.title, setting.definition, lambda row: value(row.result), setting.unit, decimals=setting.decimals
    )


def _of_figure(figure: Figure) -> Column:
    if "table" not in figure.shown:
        raise KeyError(figure.name)
    return Column(figure.title, figure.definition, _value(figure), figure.unit, figure.better, figure.decimals)


def _value(figure: Figure) -> Callable[[Row], Any]:
    """Give the function that takes a figure's value from a row."""
    if figure.name == "result":
        return lambda row: row.shown
    if figure.end is None:
        return lambda row: figure.figure(row.result)
    of, end = figure.end

    def value(row: Row) -> float | None:
        ends = interval(FIGURES[of], row.result)
        return ends[end] if ends else None

    return value
