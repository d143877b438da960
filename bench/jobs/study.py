"""Runs a study: in every round its jobs run one after the other; one that fails does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench.errors import no_room
from bench.jobs.job import ComposedJob, PlannedJob, passes_due, training_left
from bench.jobs.plan import plan
from bench.jobs.progress import StudyProgress
from bench.jobs.run import Run
from bench.jobs.run_job import run_job
from bench.jobs.stored import settle
from bench.schema.config import BenchConfig
from bench.schema.result import PASSES, Result, read_result
from bench.schema.settings import describe

INTERRUPTED_EXIT = 130


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
        planned = plan(jobs, run.out, progress.on_download, run.command)
        settle(planned, run.say)
        on_planned(planned)
        results: dict[int, Result] = {}
        try:
            for round_number in range(1, rounds + 1):
                for number, job in enumerate(planned, 1):
                    place = f"[{number}/{len(planned)}]" + (f" round {round_number} of {rounds}" if rounds > 1 else "")
                    if round_number == 1 or _goes_on(results[number], job, round_number):
                        results[number] = _run_or_reuse(job, round_number, place, run, progress)
                    else:
                        progress.next_job()
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


def _rounds(config: BenchConfig) -> int:
    """Give the number of rounds of a job; a job without a pass that is measured in every round has one."""
    return config.protocol.rounds if any(PASSES[name].in_rounds for name in config.passes) else 1


def _goes_on(result: Result, job: PlannedJob, round_number: int) -> bool:
    """Tell whether a job has more to do in this round, after the rounds before it."""
    return result.status == "ok" and bool(passes_due(job, round_number))


def _run_or_reuse(job: PlannedJob, round_number: int, place: str, run: Run, progress: StudyProgress) -> Result:
    config = job.config
    head = f"{place} {config.model.name} {describe(config)}"
    due = passes_due(job, round_number)
    if job.cannot_run is None and not due and not training_left(job):
        earlier = read_result(job.result_path)
        if earlier.status == "ok":
            run.say(f"{head}: measured before")
            progress.next_job()
            return earlier
    progress.begin(config.model.name, due, head)
    began = time.monotonic()
    result = run_job(job, due, run.launcher, progress.on_progress)
    progress.next_job()
    outcome = result.status + (f": {result.reason}" if result.reason else "")
    took = f" ({time.monotonic() - began:.0f} s)" if result.seconds is not None else ""
    run.say(f"{head}: {outcome}{took}")
    return result
