"""The rows of two runs, and which of them are to be held against each other. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.schema.result import read_result
from bench.schema.row import Row

_SETTINGS = {
    "dataset": "{}",
    "device": "{}",
    "precision": "{}",
    "compile": "compile {}",
    "batch_size": "batch {}",
    "input_size": "input {}",
    "overlap": "{}",
    "detections": "{}",
}
"""What tells rows of one model apart, and how it is said."""


@dataclass(frozen=True)
class Baseline:
    """The rows that a run is held against, and what a person calls them."""

    rows: list[Row]
    name: str


def load_rows(folder: Path) -> list[Row]:
    """Every result under a folder, by the names of their jobs' folders.

    Raises:
        UserError: no such folder, no result in it, or one that cannot be read.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such folder; give the out= folder of a finished run")
    paths = sorted(folder.rglob("result.json")) if folder.is_dir() else [folder]
    if not paths:
        raise UserError(f"{folder}: no result.json in it; give the out= folder of a finished run")
    return [Row(path.resolve(), read_result(path)) for path in paths]


def setting_of(row: Row, name: str) -> Any:
    """One of the settings that tell rows of a model apart; of the data set its name, of the device its kind."""
    if name == "dataset":
        return row.setting("dataset", "name")
    value = row.setting(name)
    return str(value).partition(":")[0] if name == "device" else value


def labels(rows: Sequence[Row]) -> list[str]:
    """The model's option name for each row, and the settings in which rows of that model differ."""
    texts = []
    for row in rows:
        alike = [other for other in rows if other.model == row.model]
        differing = [name for name in _SETTINGS if len({str(setting_of(other, name)) for other in alike}) > 1]
        told = [
            _SETTINGS[name].format(setting_of(row, name)) for name in differing if setting_of(row, name) is not None
        ]
        texts.append(" · ".join([row.model, *told]))
    return [
        text if texts.count(text) == 1 else f"{text} · {row.job.rpartition('-')[2]}"
        for text, row in zip(texts, rows, strict=True)
    ]


def matched(base: Iterable[Row], head: Iterable[Row]) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """Pairs (base, head) in the order of ``head``, then those that are only in ``base`` and only in ``head``.

    Rows belong together that are the same job; else the same model under the same settings; else the only ones left of
    a model, so that what differs between them can be said.
    """
    of_base, of_head = list(base), list(head)
    partner: dict[int, Row] = {}
    for same in (_same_job, _same_settings):
        for place, row in enumerate(of_head):
            candidates = [other for other in of_base if place not in partner and same(other, row)]
            if len(candidates) == 1:
                partner[place] = candidates[0]
                of_base.remove(candidates[0])
    left = [place for place in range(len(of_head)) if place not in partner]
    for place in left:
        like = [other for other in of_base if other.model == of_head[place].model]
        rivals = [other for other in left if of_head[other].model == of_head[place].model]
        if len(like) == len(rivals) == 1:
            partner[place] = like[0]
            of_base.remove(like[0])
    pairs = [(partner[place], row) for place, row in enumerate(of_head) if place in partner]
    return pairs, of_base, [row for place, row in enumerate(of_head) if place not in partner]


def _same_job(one: Row, other: Row) -> bool:
    return one.job == other.job


def _same_settings(one: Row, other: Row) -> bool:
    return one.model == other.model and all(setting_of(one, name) == setting_of(other, name) for name in _SETTINGS)
