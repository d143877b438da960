"""Submits jobs to Slurm through submitit."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.jobs.start import ROOT
from bench.schema.config import LauncherConfig

_LONGEST_ARRAY = 1000
"""Tasks of an array: Slurm's own default is 1001 at most."""


def require_submitit() -> None:
    """Raise a UserError where submitit is not installed."""
    try:
        import submitit  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            f"launcher=slurm: submitit is not installed in {sys.executable}; it comes with the extra maskbench[slurm]"
        ) from error


def submit(
    folder: Path, launcher: LauncherConfig, task: Callable[..., None], calls: Sequence[tuple[str, str]], **more: Any
) -> list[str]:
    """Submit an array in which each task calls ``task`` with other arguments; give the ids of the tasks.

    folder: for logs and what is handed over; it must be shared with the nodes
    more: options of ``sbatch`` beside those of the launcher; None is left out

    Raises:
        UserError: Slurm refuses them.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = SlurmExecutor(folder)
    options = {
        "job_name": "maskbench",
        "partition": launcher.partition,
        "gpus_per_node": launcher.gpus_per_node,
        "cpus_per_task": launcher.cpus_per_task,
        "time": launcher.time_min,
        "setup": _setup(),
        "stderr_to_stdout": True,
        "array_parallelism": _LONGEST_ARRAY,
        # Without srun the task has all CPUs of its allocation; a step of srun would be bound to those of one task.
        "use_srun": False,
        "additional_parameters": {"requeue": True},
        **more,
    }
    # submitit takes its own default, of 5 minutes, for a time that is absent, and none for one that is None.
    executor.update_parameters(**{key: value for key, value in options.items() if value is not None or key == "time"})
    ids: list[str] = []
    try:
        for start in range(0, len(calls), _LONGEST_ARRAY):
            jobs = executor.map_array(task, *zip(*calls[start : start + _LONGEST_ARRAY], strict=True))
            ids += [str(job.job_id) for job in jobs]
    except (FailedJobError, FailedSubmissionError) as error:
        raise UserError(f"launcher=slurm: sbatch refuses the jobs: {_last_line(error)}") from error
    return ids


def _setup() -> list[str]:
    """Give lines of the script of a job: a node imports this checkout, also where Slurm hands no environment over."""
    if ROOT.name in ("site-packages", "dist-packages"):
        return []
    path = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return [f"export PYTHONPATH={shlex.quote(os.pathsep.join(path))}"]


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "sbatch: error" in line] or lines or ["no reason given"]
    return told[0].removeprefix("sbatch: error: ")
