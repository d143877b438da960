"""Name rows: by their model, and by as many settings as tell two rows apart."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from bench.schema.row import Row
from bench.schema.settings import SEPARATOR, Setting, labelled
from reports.table.columns import COLUMNS

__all__ = ["SEPARATOR", "model_name", "row_details", "row_labels"]

_Texts = Callable[[Sequence[Row]], list[str]]
"""A function that gives a text for each of some rows whose names are still equal; "" adds nothing to a name."""


def model_name(row: Row) -> str:
    """Give the family and the backbone."""
    return f"{row.setting('model', 'family', default='?')} {row.setting('model', 'backbone', default='')}".strip()


def row_labels(rows: Sequence[Row]) -> list[str]:
    """Name each row by model, backbone, library and what else tells rows apart: no two labels are equal."""
    labels = [f"{model_name(row)}{SEPARATOR}{row.setting('model', 'library', default='?')}" for row in rows]
    details = row_details(rows, ("model", "backbone", "library"))
    return [SEPARATOR.join((label, *parts)) for label, parts in zip(labels, details, strict=True)]


def row_details(rows: Sequence[Row], columns: Sequence[str]) -> list[list[str]]:
    """Give what a table that shows ``columns`` must add to each row, so that no two rows look alike."""
    keys: list[tuple[Hashable, ...]] = [tuple(str(COLUMNS[name].value(row)) for name in columns) for row in rows]
    details: list[list[str]] = [[] for _ in rows]
    for setting in labelled():
        texts = setting.labels([row.result for row in rows])
        if setting.in_titles and setting.key not in columns and len(set(texts)) > 1:
            for number, text in enumerate(texts):
                keys[number] = (*keys[number], text)
                details[number] += [text] if text else []
    alike = _alike(range(len(rows)), keys)
    for part in _parts():
        still_alike: list[list[int]] = []
        for numbers in alike:
            texts = part([rows[number] for number in numbers])
            if len(set(texts)) > 1:
                for number, text in zip(numbers, texts, strict=True):
                    keys[number] = (*keys[number], text)
                    details[number] += [text] if text else []
            still_alike += _alike(numbers, keys)
        alike = still_alike
    return details


def _alike(numbers: Iterable[int], keys: Sequence[tuple[Hashable, ...]]) -> list[list[int]]:
    """Group those of the numbers whose key another one of them has too."""
    groups: dict[tuple[Hashable, ...], list[int]] = {}
    for number in numbers:
        groups.setdefault(keys[number], []).append(number)
    return [group for group in groups.values() if len(group) > 1]


def _parts() -> list[_Texts]:
    """Give what may tell rows of one model and library apart, in the order in which it is tried."""
    return [
        *(_labels(setting) for setting in labelled()),
        lambda rows: [row.job for row in rows],
        lambda rows: [row.shown for row in rows],
    ]


def _labels(setting: Setting) -> _Texts:
    return lambda rows: setting.labels([row.result for row in rows])
