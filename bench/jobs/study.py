"""Runs a study: in every round its jobs run one after the other, or side by side on several slots; one that fails does
not stop the others."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence

from bench.device.slots.gpu_lock import gpus_locked, gpus_of
from bench.errors import UserError, no_room
from bench.jobs.job import ComposedJob, PlannedJob, passes_due
from bench.jobs.plan import plan
from bench.jobs.process.ahead import AheadLauncher
from bench.jobs.progress import StudyProgress
from bench.jobs.run import Run
from bench.jobs.run_job import first_phase
from bench.jobs.slots.fit import too_little_time
from bench.jobs.slots.schedule import Turn, rounds_of
from bench.jobs.slots.several import run_on_slots
from bench.jobs.slots.turns import Turns, goes_on
from bench.jobs.status.board import write_queue
from bench.jobs.stored import settle
from bench.schema.result import Result

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
    for each in run.slots:
        run.say_once(f"slot {each}")
    if told := too_little_time(run.slots):
        run.say_once(told)
    with StudyProgress(run.console, len(jobs)) as progress:
        slot = run.slots[0] if run.slots else None
        planned = plan(jobs, run.out, progress.on_download, run.command, say=run.say_once, slot=slot)
        settle(planned, run.say)
        write_queue(planned, run.out, run.command)
        on_planned(planned)
        turns = Turns(planned, max(rounds_of(job) for job in planned), run)
        try:
            with gpus_in_use(planned, run):
                _run_turns(turns, run, progress)
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
    return 0 if all(result.status in ("ok", "skipped") for result in turns.results.values()) else 1


def gpus_in_use(jobs: Sequence[PlannedJob], run: Run) -> contextlib.AbstractContextManager[None]:
    """Give the lock of every GPU that a run may use: of its slots, or of the devices of its jobs.

    Raises, when it is entered:
        UserError: another command uses one of them, and ``wait=false``.
    """
    if run.slots:
        gpus = {slot.gpu: f"the GPU {slot.name} ({slot.card}, {slot.gpu})" for slot in run.slots if slot.gpu}
    else:
        gpus = gpus_of([job.config.device for job in jobs if job.cannot_run is None])
    return gpus_locked(gpus, run.say, wait=run.wait, command=run.command)


def _run_turns(turns: Turns, run: Run, progress: StudyProgress) -> None:
    """Give each job its turn in each round."""
    if len(run.slots) > 1:
        run_on_slots(turns, run, progress)
        return
    every = [turn for number in range(1, turns.rounds + 1) for turn in turns.of_round(number)]
    progress.expect(len(every))
    with AheadLauncher(run.launcher) as launcher:
        for place, turn in enumerate(every):
            if not turns.goes_on(turn):
                progress.next_job()
                continue
            ahead = functools.partial(_start_ahead, launcher, turn, every[place + 1 :], turns.results)
            turns.take(turn, launcher, progress, ahead)


def _start_ahead(launcher: AheadLauncher, current: Turn, later: Sequence[Turn], results: Mapping[int, Result]) -> None:
    """Start the first worker of the next turn in which something is to be measured, where that is known already."""
    with contextlib.suppress(UserError):  # a stored result that cannot be read is told in its turn
        for turn in later:
            job = turn.job
            # What is left of this job will be known when its worker has ended; a training gives the weights first.
            if job.folder == current.job.folder or job.config.finetune is not None:
                return
            due = passes_due(job, turn.round)
            if job.cannot_run is None and due and goes_on(turn, results):
                launcher.prepare(job, first_phase(job, due, launcher))
                return
