"""Reads the rows of two runs and pairs those that a gate compares. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.schema.result import results_under
from bench.schema.row import Row, read_rows
from bench.schema.settings import SEPARATOR, SETTINGS, labelled


@dataclass(frozen=True)
class Baseline:
    """The rows that a run is compared with, and their name for a person."""

    rows: list[Row]
    name: str


def load_rows(folder: Path) -> list[Row]:
    """Read every result under a folder, in the order of the names of the jobs' folders.

    A result that cannot be read is left out, with a line on stderr.

    Raises:
        UserError: the folder does not exist, holds both sides of a gate, or holds no result that can be read.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such folder; give the out= folder of a finished run")
    if (folder / "base" / "jobs").is_dir() and (folder / "head" / "jobs").is_dir():
        raise UserError(f"{folder}: has both sides of a gate; give {folder / 'head'}, or {folder / 'base'}")
    paths = results_under(folder) if folder.is_dir() else [folder]
    if not paths:
        raise UserError(f"{folder}: no result.json in it; give the out= folder of a finished run")
    return read_rows([path.resolve() for path in paths], str(folder), "left out of the gate")


def check_apart(base: Path, head: Path) -> None:
    """Raise a UserError where the results of ``head`` are among those of ``base``, so that nothing could be worse."""
    of_base, of_head = base.expanduser().resolve(), head.expanduser().resolve()
    if of_head.is_relative_to(of_base) or of_base.is_relative_to(of_head / "jobs"):
        raise UserError(f"{base}: has the results of {head} itself, which cannot be worse than themselves")


def labels(rows: Sequence[Row]) -> list[str]:
    """Give for each row the model's option name and the settings in which rows of that model differ."""
    parts: list[list[str]] = [[row.model] for row in rows]
    for model in dict.fromkeys(row.model for row in rows):
        places = [place for place, row in enumerate(rows) if row.model == model]
        for setting in labelled():
            texts = setting.labels([rows[place].result for place in places])
            for place, text in zip(places, texts, strict=True):
                if text and len(set(texts)) > 1:
                    parts[place].append(text)
    labels = [SEPARATOR.join(texts) for texts in parts]
    return [
        label if labels.count(label) == 1 else f"{label}{SEPARATOR}{row.job.rpartition('-')[2]}"
        for label, row in zip(labels, rows, strict=True)
    ]


def matched(base: Iterable[Row], head: Iterable[Row]) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """Give pairs (base, head) in the order of ``head``, then the rows only in ``base``, then those only in ``head``.

    Two rows are a pair if they are the same job; else if they are the same model with the same settings; else if they
    are the only ones left of a model, so that the gate can say in what they differ.
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
    pairing = [setting.paired for setting in SETTINGS.values() if setting.paired]
    return one.model == other.model and all(paired(one.result) == paired(other.result) for paired in pairing)
