"""Logs a study to Weights & Biases: a run for each row and one for the report, in one group."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.schema.config import TrackerConfig
from bench.trackers.tracked import STUDY, KnownRuns, TrackedStudy

_NOT_OURS = re.compile(r"[^A-Za-z0-9._-]+")


def log(config: TrackerConfig, study: TrackedStudy, known: KnownRuns) -> str:
    """See :class:`bench.trackers.tracked.Log`."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    for row in study.rows:
        said = {**row.conditions, **{f"maskbench.{name}": text for name, text in row.tags.items()}}
        with _run(wandb, config, study, known, row.job, row.label, said) as run:
            run.summary.update({**row.figures, "status": row.status})
            _keep(wandb, run, f"row-{row.job}", "result", row.files)
    with _run(wandb, config, study, known, STUDY, study.name, {}) as run:
        _keep(wandb, run, f"report-{study.name}", "report", study.report)
    where = "" if config.mode == "online" else f"; wandb sync {known.path.parent / 'wandb'}/offline-run-* sends it"
    return f"wandb, project {config.project}, group {study.name}{where}"


QUIET: Mapping[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "disable_code": True,
    "disable_job_creation": True,
    "host": "maskbench",
    "program": "maskbench",
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}
"""Settings of wandb under which it tells nothing of this machine by itself."""


def _run(
    wandb: Any,
    config: TrackerConfig,
    study: TrackedStudy,
    known: KnownRuns,
    job: str,
    name: str,
    conditions: Mapping[str, str],
) -> Any:
    """Begin a run, or go on with that which this folder has had for the job.

    Nothing of this machine is told but what the result says of it: no host, no user, no folder, no code.
    """
    known.keep(job, known.ids.get(job) or secrets.token_hex(4))
    return wandb.init(
        project=config.project,
        entity=config.entity,
        mode=config.mode,
        dir=str(known.path.parent),
        group=study.name,
        name=name,
        id=known.ids[job],
        resume="allow",
        reinit="create_new",
        config=dict(conditions),
        settings=wandb.Settings(**QUIET),
    )


def _keep(wandb: Any, run: Any, name: str, kind: str, files: Mapping[str, Path]) -> None:
    if files:
        artifact = wandb.Artifact(_NOT_OURS.sub("_", name)[:120], kind)
        for place, path in files.items():
            artifact.add_file(str(path), name=place)
        run.log_artifact(artifact)
