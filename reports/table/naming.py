"""Names of rows: the model, and of its setting only what is needed to tell two rows apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.schema.row import Row
from reports.table.columns import COLUMNS, dataset_name

SEPARATOR = " · "
LONGEST_VALUE = 40

_Texts = Callable[[Sequence[Row]], list[str]]
"""Gives each of some rows that are named alike so far a text; "" adds nothing to the name."""


def model_name(row: Row) -> str:
    """Family and backbone."""
    return f"{row.setting('model', 'family', default='?')} {row.setting('model', 'backbone', default='')}".strip()


def row_labels(rows: Sequence[Row]) -> list[str]:
    """Model, backbone and library, and what tells two such rows apart: no two labels are equal."""
    labels = [f"{model_name(row)}{SEPARATOR}{row.setting('model', 'library', default='?')}" for row in rows]
    details = row_details(rows, ("model", "backbone", "library"))
    return [SEPARATOR.join((label, *parts)) for label, parts in zip(labels, details, strict=True)]


def row_details(rows: Sequence[Row], columns: Sequence[str]) -> list[list[str]]:
    """What a table that shows ``columns`` must add to each row so that no two rows look alike."""
    keys: list[tuple[Hashable, ...]] = [tuple(str(COLUMNS[name].value(row)) for name in columns) for row in rows]
    details: list[list[str]] = [[] for _ in rows]
    for part in _PARTS:
        for key in {key for key in keys if keys.count(key) > 1}:
            numbers = [number for number, other in enumerate(keys) if other == key]
            texts = part([rows[number] for number in numbers])
            if len(set(texts)) > 1:
                for number, text in zip(numbers, texts, strict=True):
                    keys[number] = (*key, text)
                    details[number] += [text] if text else []
    return details


def differing_options(rows: Sequence[Row]) -> list[str]:
    """``roi_pooling=pool`` for each of ``model.options`` in which the rows differ; unset ones are not named."""
    return _differing([_flat(row.setting("model", "options", default={})) for row in rows])


def _differing_training(rows: Sequence[Row]) -> list[str]:
    return _differing([_flat(row.setting("finetune", default={})) for row in rows])


def _differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    varying = [name for name in names if len({setting.get(name) for setting in settings}) > 1]
    return [", ".join(f"{name}={setting[name]}" for name in varying if name in setting) for setting in settings]


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings with dotted names; null is as good as unset."""
    if isinstance(value, dict):
        flat: dict[str, str] = {}
        for name, inner in value.items():
            flat |= _flat(inner, f"{prefix}.{name}" if prefix else str(name))
        return flat
    return {} if value is None else {prefix: _short(value)}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and "/" in value:
        text = Path(value).name or value
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _each(text: Callable[[Row], str]) -> _Texts:
    return lambda rows: [text(row) for row in rows]


_PARTS: tuple[_Texts, ...] = (
    _each(dataset_name),
    _each(lambda row: str(row.setting("device", default=""))),
    _each(lambda row: str(row.setting("precision", default=""))),
    _each(lambda row: f"compile {mode}" if (mode := row.setting("compile", default="none")) != "none" else ""),
    _each(lambda row: f"batch {row.setting('batch_size', default='')}"),
    _each(lambda row: f"input {size}" if (size := row.setting("input_size")) else ""),
    differing_options,
    _each(lambda row: "fine-tuned" if row.setting("finetune") else ""),
    _differing_training,
    _each(lambda row: Path(row.weights).name),
    _each(lambda row: str(row.setting("overlap", default=""))),
    _each(lambda row: str(row.setting("detections", default=""))),
    _each(lambda row: str(row.setting("model", "name", default=""))),
    _each(lambda row: row.path.parent.name),
    _each(lambda row: row.shown),
)
"""What tells rows of one model and library apart, in the order in which it is tried."""
