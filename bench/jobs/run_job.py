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
from bench.jobs.shards.phase import merge_phase, merged_of
from bench.jobs.shards.places import OnePlace, Places, shards_of
from bench.jobs.shards.run import forget_shards, run_shards, shard_job
from bench.jobs.status.board import shown_at_work
from bench.passes.shards.division import Shard
from bench.schema.result import INTERRUPTED, PASSES, UNFINISHED, Result, read_result, write_result


@shown_at_work
def run_job(
    job: PlannedJob,
    due: Sequence[str],
    launcher: Launcher,
    on_progress: OnProgress,
    on_untimed: OnUntimed = lambda: None,
    places: Places | None = None,
    *,
    more_to_come: bool = False,
) -> Result:
    """Train the model where that is left to do, measure the passes that are ``due``, and give the Result.

    The Result is on disk by then.

    on_untimed: is called when nothing of this job will be timed any more, and its last worker is at work
    places: where shards of its accuracy may run; None where ``launcher`` runs them too
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
        except UserError as error:
            return _record_status(job, "failed", str(error))
    measuring = _Measuring(job, launcher, clock, on_progress, places or OnePlace(launcher))
    return measuring.run(due, None if more_to_come else on_untimed)


def first_phase(job: PlannedJob, due: Sequence[str], launcher: Launcher) -> str:
    """Give the phase of the worker that :func:`run_job` starts first for the passes that are due, one at least."""
    return _phases(due, shards_of(job, OnePlace(launcher)))[0][0]


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


def _phases(due: Sequence[str], shards: int) -> list[tuple[str, list[str]]]:
    """Give the phases of a job as a worker is told them, with their passes; the last may merge shards."""
    phases = [(",".join(passes), passes) for passes in phases_of(due, shards=shards > 1)]
    if shards > 1 and "accuracy" in due:
        phases[-1] = (merge_phase(shards), ["accuracy"])
    return phases


class _Measuring:
    """Measures the passes of a job phase by phase."""

    def __init__(
        self, job: PlannedJob, launcher: Launcher, clock: _Clock, on_progress: OnProgress, places: Places
    ) -> None:
        self._job, self._launcher, self._clock, self._on_progress = job, launcher, clock, on_progress
        self._places = places

    def run(self, due: Sequence[str], on_untimed: OnUntimed | None) -> Result:
        """Measure the passes that are due; the result is ok then, or unfinished where ``on_untimed`` is None.

        While a phase times nothing, the next phase's worker starts beside it and imports its libraries. So does the
        worker that merges shards while these are predicted.
        """
        job, shards = self._job, shards_of(self._job, self._places)
        phases = _phases(due, shards)
        with contextlib.ExitStack() as workers:
            waiting: Worker | None = None
            for place, (phase, passes) in enumerate(phases):
                worker = waiting or workers.enter_context(self._launcher.start(job, phase))
                following = phases[place + 1 : place + 2]
                beside = following and not any(PASSES[name].timed for name in passes)
                waiting = workers.enter_context(self._launcher.start(job, following[0][0])) if beside else None
                if merged_of(phase) and (failed := self._shards(shards)):
                    return failed
                result = _attend(worker, job, self._clock, self._on_progress, None if following else on_untimed)
                if result.reason != UNFINISHED:
                    return result
        if "accuracy" in due:
            forget_shards(job)
        return read_result(job.result_path) if on_untimed is None else record_success(job)

    def _shards(self, shards: int) -> Result | None:
        """Have all shards predicted; give the result where one cannot be had."""
        try:
            outcome = run_shards(self._job, shards, self._places.launchers(shards), self._on_progress)
        except KeyboardInterrupt:
            record_ending(self._job, Ending(False), self._clock.lap(), {})
            _record_status(self._job, "failed", INTERRUPTED)
            raise
        if outcome.failed is not None:
            self._take_what_is_known(outcome.failed)
        seconds, failure = self._clock.lap(), outcome.failure or Ending(True)
        ending = Ending(outcome.failure is None, failure.status, failure.reason, "; ".join(outcome.notes))
        result = record_ending(self._job, ending, seconds, outcome.parts_within(seconds))
        return None if outcome.failure is None else result

    def _take_what_is_known(self, shard: Shard) -> None:
        """Take from the result of a shard that failed what the row would have had without shards."""
        with contextlib.suppress(UserError):
            result = read_result(self._job.result_path)
            of_shard = read_result(shard_job(self._job, shard).result_path)
            result.machine, result.model, result.sources = of_shard.machine, of_shard.model, of_shard.sources
            write_result(result, self._job.result_path)


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
    """Give the job with the weights of its training in place of those that the training started from.

    Raises:
        UserError: they cannot be read; or they are others than the training has left, and their figures would stand
            beside its curve.
    """
    finetune = read_result(job.result_path).finetune
    assert finetune is not None
    assert finetune.checkpoint is not None
    path = job.folder / finetune.checkpoint
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise UserError(f"the trained weights {path.name} cannot be read: {error.strerror}") from error
    if finetune.checkpoint_sha256 not in (None, sha256):
        raise UserError(
            f"{path.name} has changed since its training ended, so what it gives would stand as the figures of that "
            f"training; put it back, or delete {job.folder} to train anew"
        )
    return dataclasses.replace(job, weights_path=str(path.resolve()), weights_sha256=sha256)
