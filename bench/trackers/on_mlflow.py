"""Logs a study to MLflow: a run for the study with the report, and a run below it for each row."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bench.schema.config import TrackerConfig
from bench.trackers.tracked import RESULT, STUDY, KnownRuns, TrackedRow, TrackedStudy

_QUIET = {
    **{"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"},
    **{"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"},
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
"""Unless the user says otherwise: a server that is gone costs a minute and not ten, and MLflow tells nobody of this."""

_AT_ONCE = 100
"""Parameters of one call that MLflow takes at most."""

_LONGEST = 6000
"""Characters of a parameter that MLflow takes at most."""


def log(config: TrackerConfig, study: TrackedStudy, known: KnownRuns) -> str:
    """See :class:`bench.trackers.tracked.Log`."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=config.uri)
    experiment = _experiment(client, config.experiment)
    whole = _run(client, experiment, known, STUDY, study.name, {})
    for row in study.rows:
        _log_row(client, _run(client, experiment, known, row.job, row.label, {"mlflow.parentRunId": whole}), row)
    _log_files(client, whole, study.report)
    client.set_terminated(whole, "FINISHED" if study.ended_well else "FAILED")
    return f"mlflow, experiment {config.experiment}, run {study.name} ({whole})"


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _run(client: Any, experiment: str, known: KnownRuns, job: str, name: str, tags: Mapping[str, str]) -> str:
    """Give the run that this folder has had for a job in this experiment, or a new one."""
    from mlflow.exceptions import MlflowException

    earlier = known.ids.get(job)
    if earlier is not None:
        try:
            found = client.get_run(earlier)
            if found.info.experiment_id == experiment and found.info.lifecycle_stage == "active":
                return earlier
        except MlflowException:  # removed since, or of another store
            pass
    made = str(client.create_run(experiment, run_name=name, tags=dict(tags)).info.run_id)
    known.keep(job, made)
    return made


def _log_row(client: Any, run: str, row: TrackedRow) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = int(1000 * time.time())
    stored = client.get_run(run).data.params
    # A parameter never changes in MLflow; a job whose conditions changed has another name, and so another run.
    params = [Param(key, value[:_LONGEST]) for key, value in row.conditions.items() if key not in stored]
    metrics = [Metric(name, value, now, 0) for name, value in row.figures.items()]
    tags = [RunTag(f"maskbench.{name}", value) for name, value in {"status": row.status, **row.tags}.items()]
    for part in _parts(params):
        client.log_batch(run, params=part)
    client.log_batch(run, metrics=metrics, tags=tags)
    for name, path in row.files.items():
        if name == RESULT:
            client.log_text(run, path.read_text(encoding="utf-8"), name)
        else:
            client.log_artifact(run, str(path))
    client.set_terminated(run, "FINISHED" if row.status in ("ok", "skipped") else "FAILED")


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    yield from (items[place : place + _AT_ONCE] for place in range(0, len(items), _AT_ONCE))


def _log_files(client: Any, run: str, files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        folder = str(PurePosixPath("report", name).parent)
        client.log_artifact(run, str(path), folder)
