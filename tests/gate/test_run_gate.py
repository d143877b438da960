"""Tests when a gate measures again, and which commands with a gate are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gate_cases import result, row

from bench.errors import UserError
from bench.gate.rows import Baseline
from bench.gate.run import measured_until_known, run_gated, the_gate
from bench.jobs.job import ComposedJob
from bench.schema.config import BenchConfig, GateConfig
from bench.schema.gate_report import Finding, GateReport


def report(verdict: str, metric: str = "fps_model") -> GateReport:
    return GateReport("base", "head", True, "", [Finding("m", "j", metric, verdict, "")])


@pytest.mark.parametrize(
    ("on_ambiguous", "verdicts", "rounds"),
    [
        ("pass", ["ambiguous"], [12]),
        ("remeasure", ["same"], [12]),
        ("remeasure", ["ambiguous", "worse"], [12, 24]),
        ("remeasure", ["ambiguous"] * 9, [12, 24, 40]),
    ],
)
def test_rounds_are_doubled_while_a_speed_is_ambiguous(
    on_ambiguous: str, verdicts: list[str], rounds: list[int]
) -> None:
    asked: list[int] = []

    def measure(count: int) -> int:
        asked.append(count)
        return 0

    gate = GateConfig(on_ambiguous=on_ambiguous, max_rounds=40)
    gated = measured_until_known(gate, 12, Path("out"), measure, lambda: report(verdicts[len(asked) - 1]))
    assert asked == rounds
    assert gated.report is not None
    assert gated.report.notes == [f"{rounds[-1]} rounds a side"]


def test_more_rounds_do_not_help_an_ambiguous_ap() -> None:
    asked: list[int] = []

    def measure(count: int) -> int:
        asked.append(count)
        return 0

    gate = GateConfig(on_ambiguous="remeasure")
    measured_until_known(gate, 12, Path("out"), measure, lambda: report("ambiguous", "mask_ap"))
    assert asked == [12]


def test_an_interrupted_measurement_is_not_judged() -> None:
    def judge() -> GateReport:
        raise AssertionError

    gated = measured_until_known(GateConfig(), 12, Path("out"), lambda _: 130, judge)
    assert (gated.status, gated.report) == (130, None)


def test_one_gate_for_all_jobs() -> None:
    gate = GateConfig(thresholds={"fps_model": "-2%"}, rounds=6)
    jobs = [ComposedJob(BenchConfig(gate=gate, baseline=name), {}) for name in ("a", "b")]
    with pytest.raises(UserError, match="gate and baseline must be the same for all jobs"):
        the_gate(jobs)
    assert the_gate(jobs[:1]) is gate
    assert the_gate([ComposedJob(BenchConfig(), {})]) is None


def test_rounds_of_the_protocol_count_where_the_gate_has_none() -> None:
    gate = GateConfig(thresholds={"fps_model": "-2%"})
    jobs = [ComposedJob(BenchConfig(gate=gate, baseline="a"), {})]
    jobs[0].config.protocol.rounds = 3
    with pytest.raises(UserError, match=r"protocol\.rounds=3: the gate tests over rounds and needs 6 or more"):
        the_gate(jobs)
    jobs[0].config.passes = ["accuracy"]
    assert the_gate(jobs) is gate


@pytest.mark.parametrize("study", [[], ["study=variants", "dataset=coco"], ["study=ci", "model=solo_r50_mmdet"]])
def test_a_baseline_implies_a_gate_whatever_the_study(study: list[str]) -> None:
    from run_bench import compose

    jobs = compose([*study, "baseline=main@latest"])
    assert {job.config.gate is not None and job.config.gate.thresholds["fps_model"] for job in jobs} == {"-2%"}


def test_a_misspelt_model_is_refused_before_anything_is_measured() -> None:
    """A model that only the baseline has may have thresholds: one gate serves commands for single models."""
    run: Any = None
    config = BenchConfig(passes=["accuracy"])
    config.model.name = "solo"
    base = Baseline([row(result())], "main")
    gate = GateConfig(thresholds={"fps_model": "-2%"}, models={base.rows[0].model: {}, "solo": {}, "soli": {}})
    with pytest.raises(UserError, match=r"gate\.models: 'soli' is the model of no row of this gate; did you mean solo"):
        run_gated([ComposedJob(config, {})], gate, base, run)
