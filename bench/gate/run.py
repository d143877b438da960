"""Runs a study with a gate: measures, compares with the baseline, and measures more rounds where asked for."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import UserError, no_room
from bench.gate.comparable import FEWER_ROWS
from bench.gate.compare import check_gate, compare
from bench.gate.interleaved import measure_sides, pairs_of, settle_sides
from bench.gate.power import TooFewRoundsError, check_power, most_rounds, planned_against, planned_pairs
from bench.gate.rank_tests import LEAST_ROUNDS
from bench.gate.rows import Baseline, load_rows
from bench.gate.sides import check_sides, planned_sides
from bench.gate.thresholds import check_models
from bench.jobs.job import ComposedJob, new_result
from bench.jobs.progress import StudyProgress
from bench.jobs.run import Run
from bench.jobs.study import INTERRUPTED_EXIT, gpus_in_use, run_study
from bench.schema.config import GateConfig
from bench.schema.gate_report import AMBIGUOUS, GateReport
from bench.schema.metrics import METRICS
from bench.schema.row import Row
from bench.schema.typed.overrides import plain


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
    """The results, which lie in the folder ``results``, cannot be judged: nothing of them could be compared with the
    baseline, or a test could not have failed."""

    def __init__(self, message: str, results: Path) -> None:
        super().__init__(message)
        self.results = results


FIRST = "runs/base"
"""The folder of the first run, in the command that a message prints."""


def first_run(command: str) -> str:
    """Give the command that measures what a later one with a gate is compared with.

    command: the one with the gate, without ``out=``
    """
    words = shlex.split(command)
    kept = [word for word in words if word != "study=ci" and not word.startswith(("gate=", "gate.", "history="))]
    if not any(word.startswith("protocol=") for word in kept):
        kept.append("protocol=gate")
    if "study=ci" in words and not any(word.startswith("study=") for word in kept):
        kept.append("study=none")
    return shlex.join([*kept, f"out={FIRST}"])


def the_gate(jobs: Sequence[ComposedJob], command: str = "python run_bench.py") -> GateConfig | None:
    """Check and give the gate that a command asks for; None without one.

    command: what the user typed without ``out=``, for a message

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
        raise UserError(
            f"baseline is missing: a gate compares with an earlier run. Make that run first with: {first_run(command)} "
            f"and then give baseline={FIRST}; or give gate=interleaved gate.base_ref=main"
        )
    rounds = gate.rounds or min(job.config.protocol.rounds for job in jobs)
    if rounds < LEAST_ROUNDS and any("speed" in job.config.passes for job in jobs):
        raise UserError(
            f"protocol.rounds={rounds}: the gate tests over rounds and needs {LEAST_ROUNDS} or more; give "
            f"gate.rounds={LEAST_ROUNDS}"
        )
    return gate


def run_gated(jobs: Sequence[ComposedJob], gate: GateConfig, base: Baseline | None, run: Run) -> Gated:
    """Measure what the gate asks for, and compare it with the baseline.

    base: the rows of the baseline, read before this run appends to a history, so that it is not its own baseline; None
        where the gate measures the base itself

    Raises:
        UserError: the study or the baseline has an error, nothing could be compared, or a test could not fail.
    """
    return _interleaved(jobs, gate, run) if base is None else _against_baseline(jobs, gate, base, run)


def _against_baseline(jobs: Sequence[ComposedJob], gate: GateConfig, base: Baseline, run: Run) -> Gated:
    rounds = _rounds(jobs, gate)
    check_models(gate.models, (*(row.model for row in base.rows), *(job.config.model.name for job in jobs)))
    if any(plain(argument)[0] == "model" for argument in run.arguments):
        # The command itself says which of the baseline's models are compared.
        gate = replace(gate, allow=[*gate.allow, FEWER_ROWS])
    tests = planned_against(base.rows, (job.config for job in jobs), check_gate(gate), most_rounds(gate, rounds))
    check_power(tests, gate.alpha)

    folders: set[Path] = set()

    def run_rounds(rounds: int) -> int:
        return run_study(with_rounds(jobs, rounds), run, lambda planned: folders.update(job.folder for job in planned))

    def judge() -> GateReport:
        # Another command may have measured other jobs in this folder, at another commit.
        head = [row for folder in sorted(folders) for row in load_rows(folder)]
        return compare(base.rows, head, gate, (base.name, str(run.out)))

    return measured_until_known(gate, rounds, run.out, run_rounds, judge)


def _interleaved(jobs: Sequence[ComposedJob], gate: GateConfig, run: Run) -> Gated:
    rounds = _rounds(jobs, gate)
    of_the_command = ("out", "wait", "devices", "gate", "baseline", "history")
    given = [a for a in run.arguments if (key := plain(a)[0]) not in of_the_command and not key.startswith("gate.")]
    given.append(f"protocol.rounds={rounds}")
    with contextlib.ExitStack() as stack:
        with StudyProgress(run.console, 1) as progress:
            planned = planned_sides(with_rounds(jobs, rounds), gate, run, given, progress.on_download)
            sides = stack.enter_context(planned)
        check_models(gate.models, (job.config.model.name for job in (*sides.base, *sides.head)))
        pairs, only_base, _ = pairs_of(sides)
        check_power(planned_pairs(pairs, check_gate(gate), most_rounds(gate, rounds)), gate.alpha)
        settle_sides(sides, run.say)
        stack.enter_context(gpus_in_use([*sides.base, *sides.head], run))

        def run_rounds(rounds: int) -> int:
            try:
                return 0 if measure_sides(sides, gate, rounds, run) else 1
            except KeyboardInterrupt:
                run.say("interrupted; what was measured is kept")
                return INTERRUPTED_EXIT
            except OSError as error:
                if not no_room(error):
                    raise
                run.say(f"{error.filename or run.out}: {error.strerror}; stopped. What was measured is kept")
                return 1

        def judge() -> GateReport:
            base = [row for job, _ in pairs for row in load_rows(job.folder)]
            # They are not measured: their absence from the head is the finding.
            base += [Row(job.result_path, new_result(job, "ok", None)) for job in only_base if job.cannot_run is None]
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
        goes_on = gate.on_ambiguous == "remeasure" and rounds < gate.max_rounds
        try:
            report = judge()
        except UserError as error:
            if not (goes_on and isinstance(error, TooFewRoundsError)):
                raise NothingComparedError(str(error), results) from error
        else:
            over_rounds = [f for f in report.findings if f.metric in METRICS and METRICS[f.metric].over_rounds]
            if not goes_on or not any(f.verdict == AMBIGUOUS for f in over_rounds):
                notes = [f"{rounds} rounds a side"] if over_rounds else []
                return Gated(status, results, replace(report, notes=[*report.notes, *notes]))
        rounds = min(2 * rounds, gate.max_rounds)


def _rounds(jobs: Sequence[ComposedJob], gate: GateConfig) -> int:
    return gate.rounds or min(job.config.protocol.rounds for job in jobs)


def with_rounds(jobs: Sequence[ComposedJob], rounds: int) -> list[ComposedJob]:
    """Give the jobs with another number of rounds."""
    return [
        replace(job, config=replace(job.config, protocol=replace(job.config.protocol, rounds=rounds))) for job in jobs
    ]
