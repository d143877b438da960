"""Names of rows: the model, and of its setting only what is needed to tell two rows apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.table.columns import COLUMNS, Job, dataset_name

SEPARATOR = " · "
LONGEST_VALUE = 40

_Texts = Callable[[Sequence[Job]], list[str]]
"""Gives each of some jobs that are named alike so far a text; "" adds nothing to the name."""


def model_name(job: Job) -> str:
    """Family and backbone."""
    return f"{job.setting('model', 'family', default='?')} {job.setting('model', 'backbone', default='')}".strip()


def row_labels(jobs: Sequence[Job]) -> list[str]:
    """Model, backbone and library, and what tells two such rows apart: no two labels are equal."""
    labels = [f"{model_name(job)}{SEPARATOR}{job.setting('model', 'library', default='?')}" for job in jobs]
    details = row_details(jobs, ("model", "backbone", "library"))
    return [SEPARATOR.join((label, *parts)) for label, parts in zip(labels, details, strict=True)]


def row_details(jobs: Sequence[Job], columns: Sequence[str]) -> list[list[str]]:
    """What a table that shows ``columns`` must add to each row so that no two rows look alike."""
    keys: list[tuple[Hashable, ...]] = [tuple(str(COLUMNS[name].value(job)) for name in columns) for job in jobs]
    details: list[list[str]] = [[] for _ in jobs]
    for part in _PARTS:
        for key in {key for key in keys if keys.count(key) > 1}:
            rows = [row for row, other in enumerate(keys) if other == key]
            texts = part([jobs[row] for row in rows])
            if len(set(texts)) > 1:
                for row, text in zip(rows, texts, strict=True):
                    keys[row] = (*key, text)
                    details[row] += [text] if text else []
    return details


def differing_options(jobs: Sequence[Job]) -> list[str]:
    """``roi_pooling=pool`` for each of ``model.options`` in which the jobs differ; unset ones are not named."""
    return _differing([_flat(job.setting("model", "options", default={})) for job in jobs])


def _differing_training(jobs: Sequence[Job]) -> list[str]:
    return _differing([_flat(job.setting("finetune", default={})) for job in jobs])


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


def _each(text: Callable[[Job], str]) -> _Texts:
    return lambda jobs: [text(job) for job in jobs]


_PARTS: tuple[_Texts, ...] = (
    _each(dataset_name),
    _each(lambda job: str(job.setting("device", default=""))),
    _each(lambda job: str(job.setting("precision", default=""))),
    _each(lambda job: f"compile {mode}" if (mode := job.setting("compile", default="none")) != "none" else ""),
    _each(lambda job: f"batch {job.setting('batch_size', default='')}"),
    _each(lambda job: f"input {size}" if (size := job.setting("input_size")) else ""),
    differing_options,
    _each(lambda job: "fine-tuned" if job.setting("finetune") else ""),
    _differing_training,
    _each(lambda job: Path(job.weights).name),
    _each(lambda job: str(job.setting("overlap", default=""))),
    _each(lambda job: str(job.setting("detections", default=""))),
    _each(lambda job: str(job.setting("model", "name", default=""))),
    _each(lambda job: job.path.parent.name),
    _each(lambda job: job.shown),
)
"""What tells rows of one model and library apart, in the order in which it is tried."""
