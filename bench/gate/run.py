"""Runs a study with a gate: measures, compares with the baseline, and measures more rounds where asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import UserError
from bench.gate.compare import check_gate, compare
from bench.gate.interleaved import measure_sides
from bench.gate.rank_tests import LEAST_ROUNDS
from bench.gate.rows import Baseline, load_rows
from bench.gate.sides import check_sides, planned_sides
from bench.jobs.job import ComposedJob
from bench.jobs.progress import StudyProgress
from bench.jobs.run import Run
from bench.jobs.study import INTERRUPTED_EXIT, run_study
from bench.schema.config import GateConfig
from bench.schema.gate_report import AMBIGUOUS, GATE_FILE, GateReport, write_report
from bench.schema.metrics import METRICS


@dataclass(frozen=True)
class Gated:
    """The end of a gated study.

    status: the exit status of its jobs
    results: the folder of the results that were judged
    report: the verdicts; None where the study was interrupted before
    """

    status: int
    results: Path
    report: GateReport | None


class NothingComparedError(UserError):
    """Nothing of the results, which lie in the folder ``results``, could be compared with the baseline."""

    def __init__(self, message: str, results: Path) -> None:
        super().__init__(message)
        self.results = results


def the_gate(jobs: Sequence[ComposedJob]) -> GateConfig | None:
    """Check and give the gate that a command asks for; None without one.

    Raises:
        UserError: a gate has no baseline or a baseline no gate, or a value is impossible.
    """
    first = jobs[0].config
    if any((job.config.gate, job.config.baseline) != (first.gate, first.baseline) for job in jobs):
        raise UserError("gate and baseline must be the same for all jobs of a sweep; give them no comma")
    gate = first.gate
    if gate is None:
        return None
    check_gate(gate)
    if gate.mode == "interleaved":
        check_sides(gate)
        if first.baseline is not None:
            raise UserError("gate=interleaved measures the base itself; leave out baseline=, or give gate=default")
    elif first.baseline is None:
        raise UserError("baseline is missing; give baseline=DIR, the folder of a finished run, or gate=interleaved")
    rounds = gate.rounds or min(job.config.protocol.rounds for job in jobs)
    if rounds < LEAST_ROUNDS and any("speed" in job.config.passes for job in jobs):
        raise UserError(
            f"protocol.rounds={rounds}: the gate tests over rounds and needs {LEAST_ROUNDS} or more; give gate.rounds="
        )
    return gate


def run_gated(jobs: Sequence[ComposedJob], gate: GateConfig, base: Baseline | None, run: Run) -> Gated:
    """Measure what the gate asks for, compare it with the baseline and write ``out/gate.json``.

    base: the rows of the baseline, read before this run appends to a history, so that it is not its own baseline; None
        where the gate measures the base itself

    Raises:
        UserError: the study or the baseline has an error, or nothing could be compared.
    """
    gated = _interleaved(jobs, gate, run) if base is None else _against_baseline(jobs, gate, base, run)
    if gated.report is not None:
        write_report(gated.report, run.out / GATE_FILE)
    return gated


def _against_baseline(jobs: Sequence[ComposedJob], gate: GateConfig, base: Baseline, run: Run) -> Gated:
    def run_rounds(rounds: int) -> int:
        return run_study(with_rounds(jobs, rounds), run)

    def judge() -> GateReport:
        return compare(base.rows, load_rows(run.out / "jobs"), gate, (base.name, str(run.out)))

    return measured_until_known(gate, _rounds(jobs, gate), run.out, run_rounds, judge)


def _interleaved(jobs: Sequence[ComposedJob], gate: GateConfig, run: Run) -> Gated:
    rounds = _rounds(jobs, gate)
    given = [a for a in run.arguments if a.partition("=")[0] not in ("out", "gate", "baseline", "history")]
    given = [a for a in given if not a.lstrip("+~").startswith("gate.")] + [f"protocol.rounds={rounds}"]
    with contextlib.ExitStack() as stack:
        with StudyProgress(run.console, 1) as progress:
            planned = planned_sides(with_rounds(jobs, rounds), gate, run, given, progress.on_download)
            sides = stack.enter_context(planned)

        def run_rounds(rounds: int) -> int:
            try:
                return 0 if measure_sides(sides, gate, rounds, run) else 1
            except KeyboardInterrupt:
                run.say("interrupted; what was measured is kept")
                return INTERRUPTED_EXIT

        def judge() -> GateReport:
            base = [row for job in sides.base if job.result_path.exists() for row in load_rows(job.folder)]
            head = [row for job in sides.head for row in load_rows(job.folder)]
            return compare(base, head, gate, sides.names)

        return measured_until_known(gate, rounds, run.out / "head", run_rounds, judge)


def measured_until_known(
    gate: GateConfig, rounds: int, results: Path, run_rounds: Callable[[int], int], judge: Callable[[], GateReport]
) -> Gated:
    """Measure and judge, and repeat with twice the rounds while a speed is ambiguous, where the gate asks for that.

    run_rounds: measures up to a number of rounds and gives the exit status
    """
    while True:
        status = run_rounds(rounds)
        if status == INTERRUPTED_EXIT:
            return Gated(status, results, None)
        try:
            report = judge()
        except UserError as error:
            raise NothingComparedError(str(error), results) from error
        unknown = [f for f in report.of(AMBIGUOUS) if f.metric in METRICS and METRICS[f.metric].over_rounds]
        if gate.on_ambiguous != "remeasure" or not unknown or rounds >= gate.max_rounds:
            note = f"{rounds} rounds a side"
            return Gated(status, results, replace(report, notes=[*report.notes, note]))
        rounds = min(2 * rounds, gate.max_rounds)


def _rounds(jobs: Sequence[ComposedJob], gate: GateConfig) -> int:
    return gate.rounds or min(job.config.protocol.rounds for job in jobs)


def with_rounds(jobs: Sequence[ComposedJob], rounds: int) -> list[ComposedJob]:
    """Give the jobs with another number of rounds."""
    return [
        replace(job, config=replace(job.config, protocol=replace(job.config.protocol, rounds=rounds))) for job in jobs
    ]
