"""Measures base and head with interleaved rounds, so that changes of the machine affect both alike."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType

from bench.errors import UserError
from bench.gate.rows import matched
from bench.gate.sides import Sides
from bench.jobs.job import PlannedJob, new_result, open_result, passes_due
from bench.jobs.launcher import ROUNDS, Ending, Launcher, OnProgress
from bench.jobs.messages import Complete, Ready
from bench.jobs.progress import StudyProgress
from bench.jobs.run import Run
from bench.jobs.run_job import record_ending, record_success, run_job
from bench.jobs.stored import settle_together
from bench.schema.config import GateConfig
from bench.schema.latency import first_rounds
from bench.schema.result import INTERRUPTED, PASSES, UNFINISHED, read_result, write_result
from bench.schema.row import Row

OTHER_DIED = "stopped before its last round, since the worker that it alternated with had died"
"""The reason of a result whose own worker did not fail, and whose figures are valid."""


class WorkerDiedError(Exception):
    """A worker ended or was killed before its rounds were done, as its result says. The argument is the
    :class:`_RoundsWorker`."""


def measure_sides(sides: Sides, gate: GateConfig, rounds: int, run: Run) -> bool:
    """Measure every job of both sides up to ``rounds`` rounds; tell whether all rows are ok or skipped.

    The passes that are not measured in rounds run first, one side after the other. The rounds of an earlier call are
    kept, and a call with more rounds adds the missing ones.
    """
    pairs, _, only_head = pairs_of(sides)
    with StudyProgress(run.console, len(pairs) + len(only_head)) as progress:
        for number, (base, head) in enumerate(pairs, 1):
            name = f"[{number}/{len(pairs)}] {head.config.model.name} {head.config.device}"
            progress.begin(head.config.model.name, head.config.passes, name)
            measure_pair(base, head, gate, rounds, run.launcher, progress.on_progress)
            progress.next_job()
            outcome = ", ".join(f"{side} {_status(job)}" for side, job in (("base", base), ("head", head)))
            run.say(f"{name}: {outcome}")
        for job in only_head:
            run.say(f"{job.config.model.name}: only in the head")
            run_job(job, passes_due(job, 1), run.launcher, progress.on_progress)
            progress.next_job()
    jobs = [job for pair in pairs for job in pair] + only_head
    return all(read_result(job.result_path).status in ("ok", "skipped") for job in jobs)


def settle_sides(sides: Sides, say: Callable[[str], None]) -> None:
    """Move aside what is stored of other commits, sources, libraries or another machine, of both sides of a pair.

    Raises:
        UserError: a stored result cannot be read.
    """
    pairs, *alone = pairs_of(sides)
    settle_together([*pairs, *([job] for jobs in alone for job in jobs)], say, of_commit=True)


def pairs_of(sides: Sides) -> tuple[list[tuple[PlannedJob, PlannedJob]], list[PlannedJob], list[PlannedJob]]:
    """Pair the jobs of both sides as the gate will pair their results; give also those of the base and of the head
    alone."""
    job_of: dict[int, PlannedJob] = {}
    rows: list[list[Row]] = []
    for jobs in (sides.base, sides.head):
        rows.append([Row(job.result_path, new_result(job, "failed", UNFINISHED)) for job in jobs])
        job_of |= {id(row): job for row, job in zip(rows[-1], jobs, strict=True)}
    pairs, *alone = matched(*rows)
    only_base, only_head = ([job_of[id(row)] for row in side] for side in alone)
    return [(job_of[id(base)], job_of[id(head)]) for base, head in pairs], only_base, only_head


def measure_pair(
    base: PlannedJob, head: PlannedJob, gate: GateConfig, rounds: int, launcher: Launcher, on_progress: OnProgress
) -> None:
    """Measure one job of both sides up to ``rounds`` rounds; the two results tell how it ended."""
    both = (base, head)
    for job in both:
        due = [name for name in passes_due(job, 1) if not PASSES[name].in_rounds]
        # One whose rounds were interrupted has nothing else due, and goes on.
        if due or job.cannot_run is not None or not job.result_path.exists() or _status(job) != "ok":
            run_job(job, due, launcher, on_progress)
    if any(_status(job) != "ok" or "speed" not in job.config.passes for job in both):
        return
    token = _token(base, head)
    # The command may have been killed between the two rounds of a pair.
    _keep_pairs(both)
    left = rounds - _rounds_done(base)
    for process in range(gate.processes):
        share = left // gate.processes + (process < left % gate.processes)
        if share > 0 and not _alternate(base, head, share, launcher, on_progress):
            _keep_pairs(both, least=1)
            return
    for job in both:
        result = read_result(job.result_path)
        result.interleaved = token
        write_result(result, job.result_path)


def _alternate(base: PlannedJob, head: PlannedJob, rounds: int, launcher: Launcher, on_progress: OnProgress) -> bool:
    """Time ``rounds`` rounds of each side in one pair of workers; tell whether both workers ended well.

    The side that begins alternates, base head head base, so that a steady drift affects both alike within two rounds.
    All rounds have as many batches as the first.
    """
    with contextlib.suppress(WorkerDiedError), contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_RoundsWorker(job, launcher, on_progress)) for job in (base, head)]
        for worker in workers:
            worker.wait_until_ready()
        batches = _batches_of_a_round(base)
        for number in range(rounds):
            for worker in workers if number % 2 == 0 else reversed(workers):
                batches = worker.time_round(batches)
        return True
    return False


class _RoundsWorker:
    """A worker that times a round of its job whenever it is told to, and waits in between.

    At the end of the ``with`` block the worker has ended and its result is on disk.
    """

    def __init__(self, job: PlannedJob, launcher: Launcher, on_progress: OnProgress) -> None:
        self._job, self._on_progress = job, on_progress
        self._began = time.monotonic()
        self._ending: Ending | None = None
        job.folder.mkdir(parents=True, exist_ok=True)
        open_result(job)
        self._worker = launcher.start(job, ROUNDS)
        self._worker.tell("begin")

    def __enter__(self) -> _RoundsWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._worker:
                if kind is None:
                    self._worker.tell_no_more()
                    self._ending = self._worker.listen(Complete, self._on_progress)
        finally:
            if self._ending is None:  # this worker did not fail: the other one died, or the user interrupted
                other_died = kind is WorkerDiedError
                self._ending = Ending(False, "ok", OTHER_DIED) if other_died else Ending(False, "failed", INTERRUPTED)
            result = record_ending(
                self._job, self._ending, time.monotonic() - self._began, self._worker.seconds_by_part
            )
            if self._ending.complete and result.reason == UNFINISHED:
                record_success(self._job)

    def wait_until_ready(self) -> None:
        """Wait until the worker is ready for its next round.

        Raises:
            WorkerDiedError: the worker has ended.
        """
        self._ending = self._worker.listen(Ready, self._on_progress)
        if self._ending is not None:
            raise WorkerDiedError(self)

    def time_round(self, batches: int | None) -> int:
        """Time one round and give its number of batches; with None the protocol decides how many they are.

        Raises:
            WorkerDiedError: the round was not finished.
        """
        self._worker.tell("" if batches is None else str(batches))
        self.wait_until_ready()
        try:
            speed = read_result(self._job.result_path).speed
        except UserError as error:
            raise self._died(f"the worker has lost its result: {error}") from error
        if speed is None or not speed.rounds:
            raise self._died("the worker has said that it timed a round, and its result has none")
        return speed.rounds[-1].samples

    def _died(self, reason: str) -> WorkerDiedError:
        self._ending = Ending(False, "crashed", reason)
        return WorkerDiedError(self)


def _status(job: PlannedJob) -> str:
    return read_result(job.result_path).status


def _rounds_done(job: PlannedJob) -> int:
    speed = read_result(job.result_path).speed
    return len(speed.rounds) if speed else 0


def _keep_pairs(both: Sequence[PlannedJob], least: int = 0) -> None:
    """Drop the rounds that only one side has: round n of one side is compared with round n of the other.

    least: how many rounds stay all the same, so that a row whose partner died at once still has its figures
    """
    pairs = max(least, min(_rounds_done(job) for job in both))
    for job in both:
        result = read_result(job.result_path)
        if result.speed is not None and len(result.speed.rounds) > pairs:
            result.speed = first_rounds(result.speed, pairs) if pairs else None
            write_result(result, job.result_path)


def _batches_of_a_round(job: PlannedJob) -> int | None:
    """Give the number of batches of the job's first round; None where no round was timed."""
    speed = read_result(job.result_path).speed
    return speed.rounds[0].samples if speed else None


def _token(base: PlannedJob, head: PlannedJob) -> str:
    """Give the token that two results with interleaved rounds share: their old one where it is the same in both, else a
    new one."""
    tokens = {read_result(job.result_path).interleaved for job in (base, head)}
    before = tokens.pop() if len(tokens) == 1 else None
    return before or uuid.uuid4().hex
