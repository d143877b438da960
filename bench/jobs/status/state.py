"""How far each job of a study is, read from its folder while the study runs and after."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.jobs.status.board import AtWork, QueuedJob, read_at_work, read_queue
from bench.schema.result import INTERRUPTED, STATUSES, UNFINISHED, parse_result, results_under

WAITING, AT_WORK, IN_PART, STOPPED, UNREADABLE = "waiting", "at work", "timed in part", "stopped", "unreadable"
TO_BE_TIMED, WAS_INTERRUPTED = "to be timed", "interrupted"
"""States of a job beside the statuses of a result. What times nothing of a job is measured before it waits for its
timing; a job that was killed has left word on the board that it is at work."""

_STATUS = re.compile(rb'\A\{\s*"status": "(\w+)"')
_ROUND = b'"first_call_ms":'
"""Stands in a result once for each round."""


@dataclass(frozen=True)
class JobState:
    """How far a job is.

    state: a status of a result, or one of the words above
    reason: of a job that did not end well; of one that was timed in part, how far
    at_work: what measures it, or did when it stopped
    """

    job: QueuedJob
    state: str
    reason: str = ""
    at_work: AtWork | None = None


@dataclass(frozen=True)
class StudyState:
    """How far a study is.

    planned, command: of its last command; "" where the folder has no queue
    jobs: in the order of the queue, then those that are in the folder and not in the queue
    """

    planned: str
    command: str
    jobs: list[JobState]


def study_state(out: Path) -> StudyState:
    """Read how far a study is.

    Raises:
        UserError: there is no such folder, or no study in it.
    """
    if not out.is_dir():
        raise UserError(
            f"{out}: {'not a folder' if out.exists() else 'no such folder'}; give the out= folder of a study"
        )
    queue = read_queue(out)
    folders = {path.parent.name: path for path in results_under(out / "jobs")} if (out / "jobs").is_dir() else {}
    if queue is None and not folders:
        raise UserError(f"{out}: no study in it; give the out= folder of a study, which has a folder jobs/")
    queued = queue.jobs if queue else []
    others = [QueuedJob(name, name, "") for name in folders if name not in {job.job for job in queued}]
    states = [_state(out, job) for job in (*queued, *others)]
    return StudyState(queue.planned if queue else "", queue.command if queue else "", states)


def _state(out: Path, job: QueuedJob) -> JobState:
    working = read_at_work(out, job.job)
    if working is not None and _may_live(working):
        return JobState(job, AT_WORK, at_work=working)
    path = out / "jobs" / job.job / "result.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return JobState(job, WAITING if working is None else STOPPED, at_work=working)
    except OSError as error:
        return JobState(job, UNREADABLE, f"{path}: {error.strerror}")
    # Thousands of whole results take minutes to read, and their status stands in the first line.
    found = _STATUS.match(content)
    if found and found[1] == b"ok":
        timed = content.count(_ROUND)
        return (
            JobState(job, IN_PART, f"{timed} of {job.rounds} rounds") if 0 < timed < job.rounds else JobState(job, "ok")
        )
    try:
        result = parse_result(content, str(path))
    except UserError as error:
        return JobState(job, UNREADABLE, str(error))
    if result.reason == INTERRUPTED:
        return JobState(job, WAS_INTERRUPTED)
    if result.reason == UNFINISHED:
        return JobState(job, TO_BE_TIMED if working is None else STOPPED, at_work=working)
    return JobState(job, result.status, result.reason or "", working)


def _may_live(working: AtWork) -> bool:
    """Tell whether a process may still run: of another machine that is not known."""
    if working.host != platform.node():
        return True
    try:
        os.kill(working.process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def counts(states: list[JobState]) -> Iterator[tuple[str, int]]:
    """Give each state that a job is in, and the number of jobs, those that ended first."""
    for state in (*STATUSES, UNREADABLE, STOPPED, WAS_INTERRUPTED, IN_PART, TO_BE_TIMED, AT_WORK, WAITING):
        if number := sum(each.state == state for each in states):
            yield state, number
