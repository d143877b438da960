"""Base and head measured in one job, round by round in turns, so that what the machine does falls on both alike."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import Any

from rich.console import Console

from bench.gate.rows import matched
from bench.gate.sides import Sides
from bench.gate.turns import TurnWorker, WorkerDiedError
from bench.jobs.job import PlannedJob, new_result, passes_due
from bench.jobs.launcher import run_job
from bench.jobs.study import StudyProgress
from bench.schema.config import GateConfig
from bench.schema.result import UNFINISHED, read_result, write_result
from bench.schema.row import Row


def measure_sides(sides: Sides, gate: GateConfig, rounds: int, console: Console) -> bool:
    """Measure every job of both sides up to so many rounds; whether all that were run ended well.

    The passes that time nothing run first, one side after the other. What an earlier call has measured is kept, so a
    second one with more rounds adds those.
    """
    pairs, only_head = _pairs(sides)
    with StudyProgress(console, len(pairs) + len(only_head)) as progress:
        for number, (base, head) in enumerate(pairs, 1):
            name = f"[{number}/{len(pairs)}] {head.config.model.name} {head.config.device}"
            progress.begin(head.config.model.name, name)
            measure_pair(base, head, gate, rounds, progress.on_message)
            progress.next_job()
            outcome = ", ".join(f"{side} {_status(job)}" for side, job in (("base", base), ("head", head)))
            console.print(f"{name}: {outcome}", markup=False, highlight=False, soft_wrap=True)
        for job in only_head:
            console.print(f"{job.config.model.name}: only in the head", markup=False, highlight=False)
            job.due = passes_due(job, 1)
            run_job(job, progress.on_message)
            progress.next_job()
    jobs = [job for pair in pairs for job in pair] + only_head
    return all(read_result(job.result_path).status in ("ok", "skipped") for job in jobs)


def _pairs(sides: Sides) -> tuple[list[tuple[PlannedJob, PlannedJob]], list[PlannedJob]]:
    """Jobs of both sides that belong together, as the gate will match their results, and those of the head alone."""
    job_of: dict[int, PlannedJob] = {}
    rows: list[list[Row]] = []
    for jobs in (sides.base, sides.head):
        rows.append([Row(job.result_path, new_result(job, "failed", UNFINISHED)) for job in jobs])
        job_of |= {id(row): job for row, job in zip(rows[-1], jobs, strict=True)}
    pairs, _, only_head = matched(*rows)
    return (
        [(job_of[id(base)], job_of[id(head)]) for base, head in pairs],
        [job_of[id(row)] for row in only_head],
    )


def measure_pair(
    base: PlannedJob, head: PlannedJob, gate: GateConfig, rounds: int, on_message: Callable[[dict[str, Any]], None]
) -> None:
    """One job of both sides, up to so many rounds; what becomes of it is in the two results."""
    for job in (base, head):
        job.due = [name for name in passes_due(job, 1) if name != "speed"]
        if job.due or job.skip_reason is not None or not job.result_path.exists():
            run_job(job, on_message)
    both = (base, head)
    if any(_status(job) != "ok" or "speed" not in job.config.passes for job in both):
        return
    token = _token(base, head)
    left = rounds - min(_rounds_done(job) for job in both)
    for process in range(gate.processes):
        share = left // gate.processes + (process < left % gate.processes)
        if share > 0 and not _take_turns(base, head, share, on_message):
            return
    for job in both:
        result = read_result(job.result_path)
        result.interleaved = token
        write_result(result, job.result_path)


def _take_turns(base: PlannedJob, head: PlannedJob, rounds: int, on_message: Callable[[dict[str, Any]], None]) -> bool:
    """So many rounds of each in one pair of workers; whether both lived.

    Who begins alternates, base head head base: a steady drift then falls on both alike within two rounds. All rounds
    have as many batches as the first.
    """
    with contextlib.suppress(WorkerDiedError), contextlib.ExitStack() as stack:
        workers = [stack.enter_context(TurnWorker(job, on_message)) for job in (base, head)]
        for worker in workers:
            worker.wait()
        batches = _batches_before(base)
        for number in range(rounds):
            for worker in workers if number % 2 == 0 else reversed(workers):
                batches = worker.turn(batches)
        return True
    return False


def _status(job: PlannedJob) -> str:
    return read_result(job.result_path).status


def _rounds_done(job: PlannedJob) -> int:
    speed = read_result(job.result_path).speed
    return len(speed.rounds) if speed else 0


def _batches_before(job: PlannedJob) -> int | None:
    """Batches of a round that an earlier worker of the job has measured."""
    speed = read_result(job.result_path).speed
    return speed.rounds[0].samples if speed else None


def _token(base: PlannedJob, head: PlannedJob) -> str:
    """What says of two results that their rounds are pairs: new, unless both have had the same one before."""
    tokens = {read_result(job.result_path).interleaved for job in (base, head)}
    before = tokens.pop() if len(tokens) == 1 else None
    return before or uuid.uuid4().hex
