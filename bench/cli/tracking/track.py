"""Logs what a command has measured, once its report is written. A tracker that fails costs a line on stderr."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, visible
from bench.private.texts import publishable, without_secrets
from bench.schema.config import TrackerConfig
from bench.schema.metrics import FIGURES
from bench.schema.settings import SETTINGS
from bench.schema.words import flat

if TYPE_CHECKING:
    from bench.schema.row import Row
    from bench.trackers.tracked import TrackedStudy
    from reports.table.comparison import Comparison

_MODULES = {"mlflow": "bench.trackers.on_mlflow", "wandb": "bench.trackers.on_wandb"}


def check_installed(config: TrackerConfig) -> None:
    """Raise a UserError where the tracker's library is absent, before hours are spent."""
    if config.name != "none" and importlib.util.find_spec(config.name) is None:
        raise UserError(
            f"tracker={config.name}: {config.name} is not installed in {sys.executable}; "
            f"{sys.executable} -m pip install {config.name}"
        )


def track(config: TrackerConfig, results: Path, out: Path, say: Callable[[str], None]) -> None:
    """Log every result under ``results``, and the report in ``out``; say where, or on stderr why not."""
    if config.name == "none":
        return
    try:
        from bench.trackers.tracked import KnownRuns

        where = (config.uri, config.experiment) if config.name == "mlflow" else (config.entity, config.project)
        known = KnownRuns.read(out, " ".join(str(part) for part in (config.name, *where) if part))
        say(
            f"tracker: {importlib.import_module(_MODULES[config.name]).log(config, study(config, results, out), known)}"
        )
    except Exception as error:  # whatever it is, it must not cost the verdict
        text = visible(" ".join(without_secrets(str(error)).split())) or type(error).__name__
        print(f"warning: tracker={config.name}: {text[:500]}; the results are in {out} all the same", file=sys.stderr)


def study(config: TrackerConfig, results: Path, out: Path) -> TrackedStudy:
    """Give what a tracker gets of a folder of results and of the report in ``out``."""
    from bench.trackers.tracked import RESULT, TrackedRow, TrackedStudy
    from reports.masks.ground_truth import predictions_path, predictions_sha256
    from reports.masks.predictions import not_as_measured
    from reports.table.comparison import load, loaded
    from reports.writing import FILES, PICTURES

    comparison = loaded([results]) or load([results], out, warn=False)
    rows = []
    for number, row in enumerate(comparison.rows):
        files, changed = {RESULT: row.path}, ""
        predictions = predictions_path(row) if row.result.accuracy and config.predictions else None
        if predictions is not None and predictions.is_file():
            changed = not_as_measured(predictions, predictions_sha256(row))
            files |= {} if changed else {predictions.name: predictions}
        tags = {"job": row.job, "reason": row.result.reason or "", "marks": comparison.mark_names(number)}
        tags["predictions"] = changed and f"not sent: {changed}"
        kept = {name: text for name, text in tags.items() if text}
        figures = dict(_figures(comparison, number))
        rows.append(
            TrackedRow(row.job, comparison.labels[number], row.result.status, figures, conditions(row), kept, files)
        )
    report = {path.name: path for name in FILES if (path := out / name).is_file()}
    pictures = sorted({path for pattern in PICTURES for path in (out / "plots").glob(pattern)})
    for path in (*pictures, *sorted((out / "models").glob("*.html"))):
        report[path.relative_to(out).as_posix()] = path
    return TrackedStudy(config.run or out.resolve().name, rows, report)


def _figures(comparison: Comparison, number: int) -> Iterator[tuple[str, float]]:
    """Give the figures of a row, with the ends of intervals; one that says nothing of the model is left out."""
    for name, figure in FIGURES.items():
        elsewhere = name.startswith("published_")  # a figure of others, which stands in the report
        if figure.decimals is None or elsewhere or "table" not in figure.shown or comparison.noise(number, name):
            continue
        value = comparison.cell(number, name)
        if value is not None and math.isfinite(value):
            yield name, float(value)


def conditions(row: Row) -> dict[str, str]:
    """Give the conditions of a row as texts: its settings, and the versions of what ran."""
    found: dict[str, str] = {}
    for key, setting in SETTINGS.items():
        value = setting.value(row.result)
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": text for name, text in flat(value).items()}
        elif value is not None and value != "":
            found[key] = value if isinstance(value, str) else json.dumps(value)
    versions: Any = (row.result.machine or {}).get("versions") or {}
    found |= {f"version.{name}": str(version) for name, version in versions.items() if version}
    return {_plain(name): str(publishable(text)) for name, text in found.items()}


def _plain(name: str) -> str:
    """Give a name that MLflow takes: letters, digits, and a few signs."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "_-. :/") else "_" for char in name)
