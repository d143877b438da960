"""Runs a study: in every round its jobs run one after the other; one that fails does not stop the others."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import UserError, no_room
from bench.jobs.job import ComposedJob, PlannedJob, passes_due, training_left
from bench.jobs.launcher import OnUntimed
from bench.jobs.plan import plan
from bench.jobs.process.ahead import AheadLauncher
from bench.jobs.progress import StudyProgress
from bench.jobs.run import Run
from bench.jobs.run_job import first_phase, run_job
from bench.jobs.stored import settle
from bench.schema.config import BenchConfig
from bench.schema.result import PASSES, Result, read_result
from bench.schema.settings import describe

INTERRUPTED_EXIT = 130


@dataclass(frozen=True)
class _Turn:
    """One turn of a study: the place of its job in the study, and the round, both counted from 1."""

    job: PlannedJob
    number: int
    round: int


def run_study(
    jobs: Sequence[ComposedJob], run: Run, on_planned: Callable[[Sequence[PlannedJob]], None] = lambda jobs: None
) -> int:
    """Plan all jobs, run those that have no complete result yet, and give the exit status.

    The status is 0 when every row is ok or skipped, 1 when one is not or the disk is full, 130 after Ctrl-C. In each
    case all that was measured is on disk.

    Raises:
        UserError: the study has an error; no model has run.
    """
    rounds = max(_rounds(job.config) for job in jobs)
    with StudyProgress(run.console, len(jobs) * rounds) as progress:
        planned = plan(jobs, run.out, progress.on_download, run.command, say=run.say_once)
        settle(planned, run.say)
        on_planned(planned)
        results: dict[int, Result] = {}
        try:
            _run_turns(planned, rounds, results, run, progress)
        except KeyboardInterrupt:
            run.say("interrupted; what was measured is kept, and the same command with the same out= goes on")
            return INTERRUPTED_EXIT
        except OSError as error:
            if not no_room(error):
                raise
            run.say(
                f"{error.filename or run.out}: {error.strerror}; stopped. What was measured is kept, and the same "
                "command with the same out= goes on when there is room"
            )
            return 1
    return 0 if all(result.status in ("ok", "skipped") for result in results.values()) else 1


def _run_turns(
    planned: Sequence[PlannedJob], rounds: int, results: dict[int, Result], run: Run, progress: StudyProgress
) -> None:
    """Give each job its turn in each round; ``results`` gets the result of each job by its number."""
    turns = [
        _Turn(job, number, round_number)
        for round_number in range(1, rounds + 1)
        for number, job in enumerate(planned, 1)
    ]
    with AheadLauncher(run.launcher) as launcher:
        for place, turn in enumerate(turns):
            if not _goes_on(turn, results):
                progress.next_job()
                continue
            ahead = functools.partial(_start_ahead, launcher, turn, turns[place + 1 :], results)
            where = f"[{turn.number}/{len(planned)}]" + (f" round {turn.round} of {rounds}" if rounds > 1 else "")
            results[turn.number] = _run_or_reuse(turn, where, run, launcher, progress, ahead)


def _rounds(config: BenchConfig) -> int:
    """Give the number of rounds of a job; a job without a pass that is measured in every round has one."""
    return config.protocol.rounds if any(PASSES[name].in_rounds for name in config.passes) else 1


def _goes_on(turn: _Turn, results: Mapping[int, Result]) -> bool:
    """Tell whether a job has more to do in this turn, after its earlier turns, of which ``results`` has the result."""
    return turn.round == 1 or (results[turn.number].status == "ok" and bool(passes_due(turn.job, turn.round)))


def _start_ahead(
    launcher: AheadLauncher, current: _Turn, later: Sequence[_Turn], results: Mapping[int, Result]
) -> None:
    """Start the first worker of the next turn in which something is to be measured, where that is known already."""
    with contextlib.suppress(UserError):  # a stored result that cannot be read is told in its turn
        for turn in later:
            job = turn.job
            # What is left of this job will be known when its worker has ended; a training gives the weights first.
            if job.folder == current.job.folder or job.config.finetune is not None:
                return
            due = passes_due(job, turn.round)
            if job.cannot_run is None and due and _goes_on(turn, results):
                launcher.prepare(job, first_phase(job, due, launcher))
                return


def _run_or_reuse(
    turn: _Turn, place: str, run: Run, launcher: AheadLauncher, progress: StudyProgress, on_untimed: OnUntimed
) -> Result:
    job, config = turn.job, turn.job.config
    head = f"{place} {config.model.name} {describe(config)}"
    due = passes_due(job, turn.round)
    if job.cannot_run is None and not due and not training_left(job):
        earlier = read_result(job.result_path)
        if earlier.status == "ok":
            run.say(f"{head}: measured before")
            progress.next_job()
            return earlier
    progress.begin(config.model.name, due, head)
    began = time.monotonic()
    result = run_job(job, due, launcher, progress.on_progress, on_untimed)
    progress.next_job()
    outcome = result.status + (f": {result.reason}" if result.reason else "")
    took = f" ({time.monotonic() - began:.0f} s)" if result.seconds is not None else ""
    run.say(f"{head}: {outcome}{took}")
    return result
