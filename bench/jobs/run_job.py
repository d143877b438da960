"""Runs one job from beginning to end: its training, then its passes, each phase in a worker process of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence

from bench.errors import UserError
from bench.files.digests import sha256_of
from bench.jobs.job import PlannedJob, hide, new_result, open_result, phases_of, training_left
from bench.jobs.launcher import TRAIN, Ending, Launcher, OnProgress, OnUntimed, Worker
from bench.jobs.messages import Complete
from bench.jobs.status.board import shown_at_work
from bench.schema.result import INTERRUPTED, UNFINISHED, Result, read_result, write_result


@shown_at_work
def run_job(
    job: PlannedJob,
    due: Sequence[str],
    launcher: Launcher,
    on_progress: OnProgress,
    on_untimed: OnUntimed = lambda: None,
    *,
    more_to_come: bool = False,
) -> Result:
    """Train the model where that is left to do, measure the passes that are ``due``, and give the Result.

    The Result is on disk by then.

    on_untimed: is called when nothing of this job will be timed any more, and its last worker is at work
    more_to_come: whether the job has more passes to measure, in another call. Until then its Result is unfinished: of
        one that is ok, a pass that it lacks would be taken for one that does not apply

    Raises:
        KeyboardInterrupt: after the worker has ended and its measurements are on disk.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    open_result(job)
    if job.cannot_run is not None:
        return _record_status(job, *job.cannot_run)
    clock = _Clock()
    if training_left(job):
        with launcher.start(job, TRAIN) as worker:
            trained = _attend(worker, job, clock, on_progress, None if due or more_to_come else on_untimed)
        if training_left(job) or trained.reason != UNFINISHED:
            return trained
    if job.config.finetune is not None:
        try:
            job = _with_trained_weights(job)
        except OSError as error:
            return _record_status(job, "crashed", f"the trained weights cannot be read: {error.strerror}")
    return _measure(job, due, launcher, clock, on_progress, None if more_to_come else on_untimed)


def record_ending(job: PlannedJob, ending: Ending, seconds: float, parts: Mapping[str, float]) -> Result:
    """Write into the job's result how its worker ended and how many seconds it took; give the result.

    parts: what these seconds went to, as far as it is known; the rest is written down as ``wait``

    A worker that stops at an exception writes status and reason itself; these stand.
    """
    result, lost = _read(job)
    status, reason = ("crashed", lost) if lost and ending.status is None else (ending.status, ending.reason)
    if status is not None and (result.reason == UNFINISHED or status != "crashed"):
        result.status, result.reason = status, reason
    if ending.note and ending.note not in result.notes:
        result.notes.append(ending.note)
    seconds = max(seconds, sum(parts.values()))  # by two clocks
    result.seconds = (result.seconds or 0.0) + seconds
    for part, taken in {**parts, "wait": max(0.0, seconds - sum(parts.values()))}.items():
        result.seconds_by_part[part] = result.seconds_by_part.get(part, 0.0) + taken
    hide(job.from_environment, result)
    write_result(result, job.result_path)
    return result


def record_success(job: PlannedJob) -> Result:
    """Write into the job's result that all its passes are measured; give the result."""
    return _record_status(job, "ok", None)


def _record_status(job: PlannedJob, status: str, reason: str | None) -> Result:
    result, lost = _read(job)
    result.status, result.reason = ("crashed", lost) if lost else (status, reason)
    hide(job.from_environment, result)
    write_result(result, job.result_path)
    return result


def _read(job: PlannedJob) -> tuple[Result, str | None]:
    """Give the job's result and None; where a worker has removed or spoilt the file, an empty one and a sentence."""
    try:
        return read_result(job.result_path), None
    except UserError as error:
        return new_result(job, "failed", UNFINISHED), f"the worker has lost its result: {error}"


class _Clock:
    """Measures seconds from one call of ``lap`` to the next."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        return seconds


def _measure(
    job: PlannedJob,
    due: Sequence[str],
    launcher: Launcher,
    clock: _Clock,
    on_progress: OnProgress,
    on_untimed: OnUntimed | None,
) -> Result:
    """Measure the passes phase by phase; the result is ok then, or unfinished where ``on_untimed`` is None.

    A pass in a process of its own times nothing, so the next phase's worker starts beside it and imports its libraries.
    """
    phases = [",".join(names) for names in phases_of(due)]
    with contextlib.ExitStack() as workers:
        waiting: Worker | None = None
        for place, phase in enumerate(phases):
            worker = waiting or workers.enter_context(launcher.start(job, phase))
            following = phases[place + 1 : place + 2]
            waiting = workers.enter_context(launcher.start(job, following[0])) if following else None
            result = _attend(worker, job, clock, on_progress, None if following else on_untimed)
            if result.reason != UNFINISHED:
                return result
    return read_result(job.result_path) if on_untimed is None else record_success(job)


def _attend(
    worker: Worker, job: PlannedJob, clock: _Clock, on_progress: OnProgress, on_untimed: OnUntimed | None
) -> Result:
    """Let a worker begin, listen to it until it has ended, and give the result, which is then on disk.

    on_untimed: see :func:`run_job`; None where the job has more to do after this worker
    """
    last = on_untimed is not None
    worker.tell("begin")
    worker.tell_no_more()
    try:
        ending = worker.listen(Complete, on_progress, on_untimed or (lambda: None))
    except KeyboardInterrupt:
        result = record_ending(job, Ending(worker.complete), clock.lap(), worker.seconds_by_part)
        if result.reason == UNFINISHED:
            done = last and worker.complete
            _record_status(job, *(("ok", None) if done else ("failed", INTERRUPTED)))
        raise
    assert ending is not None
    return record_ending(job, ending, clock.lap(), worker.seconds_by_part)


def _with_trained_weights(job: PlannedJob) -> PlannedJob:
    """Give the job with the weights of its training in place of those that the training started from."""
    finetune = read_result(job.result_path).finetune
    assert finetune is not None
    assert finetune.checkpoint is not None
    path = job.folder / finetune.checkpoint
    return dataclasses.replace(job, weights_path=str(path.resolve()), weights_sha256=sha256_of(path))
