"""The board of a study: which jobs it has, in their order, and which of them is at work where.

It lies in ``out/.board`` for ``maskbench status``, also of another machine that sees the folder. A job writes its own
file alone, whole or not at all. The board is for people who wait, so nothing fails where it cannot be written, and it
may name machines, so it is hidden from who publishes a folder of results.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from bench.files.json_file import from_dict, write_text_atomically
from bench.files.plain import as_dict
from bench.jobs.job import PlannedJob
from bench.jobs.launcher import Launcher
from bench.schema.result import PASSES
from bench.schema.settings import described

BOARD = ".board"

QUEUE = "queue.json"

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class QueuedJob:
    """A job of the queue.

    job: the name of its folder
    model, setting: what it is called
    rounds: how often it is to be timed; 0 where nothing of it is timed in rounds
    """

    job: str
    model: str
    setting: str
    rounds: int = 0


@dataclass(frozen=True)
class Queue:
    """The planned jobs of the last command of a study, in the order in which they begin.

    planned: when, UTC, ISO 8601
    command: what the user typed, without ``out=``
    """

    planned: str
    command: str
    jobs: list[QueuedJob]


@dataclass(frozen=True)
class AtWork:
    """A job that is measured at this moment, or was when its process died.

    process, host: what measures it
    began: when, UTC, ISO 8601
    where: the slot or the device of it
    """

    process: int
    host: str
    began: str
    where: str = ""


def write_queue(jobs: Sequence[PlannedJob], out: Path, command: str) -> None:
    """Write which jobs a study has planned."""
    settings = described([job.config for job in jobs])
    queued = [
        QueuedJob(job.folder.name, job.config.model.name, text, _rounds(job))
        for job, text in zip(jobs, settings, strict=True)
    ]
    with contextlib.suppress(OSError):
        write_text_atomically(out / BOARD / QUEUE, _text(Queue(_now(), command, queued)))


def shown_at_work(
    run: Callable[Concatenate[PlannedJob, Sequence[str], Launcher, P], T],
) -> Callable[Concatenate[PlannedJob, Sequence[str], Launcher, P], T]:
    """Let a function that runs a job say so on the board; a launcher of one slot has its name as ``where``."""

    @functools.wraps(run)
    def shown(job: PlannedJob, due: Sequence[str], launcher: Launcher, /, *arguments: P.args, **more: P.kwargs) -> T:
        with at_work(job, getattr(launcher, "where", "")):
            return run(job, due, launcher, *arguments, **more)

    return shown


@contextlib.contextmanager
def at_work(job: PlannedJob, where: str = "") -> Iterator[None]:
    """Say on the board of its study that a job is at work, for the ``with`` block.

    where: the slot that it has, where the study has several
    """
    path = _of_job(job.folder.parent.parent, job.folder.name)
    _write(AtWork(os.getpid(), platform.node(), _now(), where or job.config.device), path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def read_queue(out: Path) -> Queue | None:
    """Give the queue of a study; None where there is none that can be read."""
    return _read(Queue, out / BOARD / QUEUE)


def read_at_work(out: Path, job: str) -> AtWork | None:
    """Say what measures a job, given by the name of its folder; None where nothing does."""
    return _read(AtWork, _of_job(out, job))


def _of_job(out: Path, job: str) -> Path:
    return out / BOARD / "at_work" / f"{job}.json"


def _rounds(job: PlannedJob) -> int:
    in_rounds = any(PASSES[name].in_rounds for name in job.config.passes) and not job.replays
    return job.config.protocol.rounds if in_rounds else 0


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _write(value: Any, path: Path) -> None:
    """Write a file whole or not at all, and go on where that fails; it is not flushed to the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(_text(value), encoding="utf-8")
        os.replace(temporary, path)


def _text(value: Any) -> str:
    return json.dumps(as_dict(value))


def _read(cls: type[T], path: Path) -> T | None:
    try:
        return from_dict(cls, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError):
        return None
