"""What Slurm tells of its jobs, by its own commands: no database of accounts is needed, which many clusters lack."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from bench.errors import UserError

_ANSWER_SECONDS = 60


class NoAnswerError(Exception):
    """Slurm does not answer now; it may in a moment."""


@dataclass(frozen=True)
class Waiting:
    """A job that runs or waits: its state as Slurm has it (RUNNING, PENDING), and why it waits."""

    state: str
    reason: str


def require_commands() -> None:
    """Raise a UserError where Slurm's commands are not here."""
    absent = [name for name in ("sbatch", "squeue", "scontrol", "scancel") if shutil.which(name) is None]
    if absent:
        raise UserError(
            f"launcher=slurm: {absent[0]} is not on the PATH; run it where Slurm's commands are, on a login node"
        )


def jobs_in_queue() -> dict[str, Waiting]:
    """Give the jobs of this user that have not ended, by their ids, as ``12`` and, in arrays, ``12_3``.

    Raises:
        NoAnswerError: Slurm does not answer.
    """
    told = _ask("squeue", "-h", "-r", "--me", "-t", "all", "-o", "%i|%T|%r")
    found = {}
    for line in told.splitlines():
        job, state, reason = line.split("|", 2)
        if state not in _ENDED:
            found[job.strip()] = Waiting(state, reason)
    return found


_ENDED = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
        *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    )
)
"""States of jobs that ``squeue`` still lists for a while though they have ended."""


def is_alive(job: str) -> bool:
    """Tell whether a job runs or waits to run; also where Slurm does not answer."""
    try:
        return job in jobs_in_queue()
    except NoAnswerError:
        return True


@dataclass(frozen=True)
class End:
    """How a job ended: its state as Slurm has it (CANCELLED), and its node; "" where Slurm has forgotten."""

    state: str = ""
    node: str = ""


def end_of(job: str) -> End:
    """Give how a job ended, as far as Slurm remembers, which it does for some minutes."""
    try:
        told = _ask("scontrol", "-o", "show", "job", job)
    except NoAnswerError:
        return End()
    state, node = (re.search(rf"\b{key}=(\S+)", told) for key in ("JobState", "BatchHost"))
    return End(state[1] if state else "", node[1] if node else "")


def cancel(*jobs: str) -> None:
    """Cancel jobs; those that have ended are no error."""
    if jobs:
        subprocess.run(["scancel", *jobs], capture_output=True, timeout=_ANSWER_SECONDS, check=False)


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswerError(str(error)) from error
    if done.returncode != 0:
        raise NoAnswerError((done.stderr.strip().splitlines() or ["no answer"])[-1])
    return done.stdout
