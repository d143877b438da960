"""Tests that a gate whose tests could not fail is refused, and that none is refused which could."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from gate_cases import QUIET, result, row

from bench.errors import UserError
from bench.gate.batch_ratio import least_p, paired_batches
from bench.gate.compare import compare
from bench.gate.power import TooFewRoundsError, check_power, planned_against, planned_pairs
from bench.gate.rank_tests import least_paired, least_unpaired, paired, unpaired
from bench.gate.run import NothingComparedError, measured_until_known
from bench.gate.thresholds import Thresholds, parse_all
from bench.jobs.job import Failure, PlannedJob
from bench.schema.config import BenchConfig, GateConfig
from bench.schema.gate_report import Finding, GateReport
from bench.schema.result import Result

SPEEDS = {"fps_model": "-2%", "fps_end_to_end": "-3%", "latency_ms_p95": "+10%"}


def times(rounds: int, slower: float = 1.0) -> list[float]:
    return [slower * ms for ms in QUIET[:rounds]]


def pair(rounds: int, slower: float = 1.0) -> tuple[Result, Result]:
    return result(times(rounds), interleaved="t"), result(times(rounds, slower), interleaved="t")


def held(base: Result, head: Result, thresholds: dict[str, str] = SPEEDS) -> GateReport:
    return compare([row(base)], [row(head)], GateConfig(thresholds=thresholds), ("base", "head"))


@pytest.mark.parametrize("rounds", [6, 7, 9])
def test_least_p_is_that_of_the_largest_difference(rounds: int) -> None:
    base = QUIET[:rounds]
    head = [ms + 1000 + n / 100 for n, ms in enumerate(base)]
    assert unpaired(base, head).p == pytest.approx(least_unpaired(rounds, rounds))
    assert paired(base, head).p == pytest.approx(least_paired(rounds))
    assert paired_batches([[ms] for ms in base], [[ms] for ms in head]).p == pytest.approx(least_p(rounds))
    assert least_unpaired(6, 6) == pytest.approx(2 / 924)
    assert (least_paired(6), least_p(6), least_p(20)) == (1 / 32, 1 / 32, 2 / 10_000)


def test_six_rounds_and_three_tests_are_refused_whatever_the_difference() -> None:
    """1/32 three times is 0.094; with seven rounds 1/64 three times is 0.047."""
    for slower in (1.0, 5.0):
        with pytest.raises(TooFewRoundsError) as refused:
            held(*pair(6, slower))
        assert "the gate could not fail: with 6 rounds, solov2_r50_mmdet fps_model (and 2 more)" in str(refused.value)
        assert str(refused.value).endswith("give gate.rounds=7 or more for these 3 tests")
    assert {f.metric for f in held(*pair(7, 5.0)).of("worse")} == set(SPEEDS)
    assert held(*pair(7)).passed


def test_what_can_work_is_not_refused() -> None:
    assert held(*pair(6), {"fps_model": "-2%"}).passed  # one test: 1/32
    assert held(result(times(6)), result(times(6))).passed  # rounds that are no pairs: 2/924 three times


def test_a_memory_that_is_worse_is_told_though_the_speed_could_not_fail() -> None:
    base, head = pair(6)
    head.memory.peak_reserved_bytes = 2_000_000_000  # type: ignore[union-attr]
    report = held(base, head, {**SPEEDS, "peak_reserved_mb": "+1%"})
    assert ([f.metric for f in report.of("worse")], report.passed) == (["peak_reserved_mb"], False)


def thresholds(**common: str) -> Thresholds:
    return parse_all(common or SPEEDS, {})


def planned(name: str, skip_reason: str | None = None, weights: str = "random") -> PlannedJob:
    config = BenchConfig()
    config.model.name, config.model.weights = name, weights
    return PlannedJob(config, {}, Path(name), skip_reason=skip_reason)


def test_a_plan_knows_its_tests() -> None:
    pairs = [(planned(name), planned(name)) for name in ("a", "b")]
    reaches = planned_pairs(pairs, thresholds(), 7)
    assert [one.what for one in reaches][:2] == ["a fps_model", "a fps_end_to_end"]
    assert len(reaches) == 6
    with pytest.raises(TooFewRoundsError, match=re.escape("gate.rounds=8 or more for these 6 tests")):
        check_power(reaches, 0.05)
    check_power(planned_pairs(pairs, thresholds(), 8), 0.05)
    # A model whose library is absent makes no test, and neither does the AP of random weights.
    broken = replace(planned("b"), failure=Failure("failed", "no module 'my_helpres'"))
    for other in (planned("b", "mmdet is not installed"), broken):
        pairs[1] = (planned("b"), other)
        check_power(planned_pairs(pairs, thresholds(**SPEEDS, mask_ap="-0.2"), 7), 0.05)
    trained = [(planned("a", weights="zoo"), planned("a", weights="zoo"))]
    with pytest.raises(TooFewRoundsError, match="these 4 tests"):
        check_power(planned_pairs(trained, thresholds(**SPEEDS, mask_ap="-0.2"), 7), 0.05)


def test_an_interleaved_gate_of_more_tests_than_any_number_of_rounds_can_serve() -> None:
    many = [(planned(f"m{n}"), planned(f"m{n}")) for n in range(250)]
    check_power(planned_pairs(many[:249], thresholds(fps_model="-2%"), 24), 0.05)
    with pytest.raises(
        TooFewRoundsError, match="no number of rounds is enough for 250 tests; give fewer models at once"
    ):
        check_power(planned_pairs(many, thresholds(fps_model="-2%"), 24), 0.05)


def test_a_plan_knows_the_rounds_of_its_baseline() -> None:
    config = BenchConfig()
    config.model.name = "a"
    base = [row(result(times(6), name="a"), "a-1")]
    assert [one.least_p(one.rounds) for one in planned_against(base, [config], thresholds(), 12)] == [2 / 18564] * 3
    assert planned_against([row(result(name="b"), "b-1")], [config], thresholds(), 12) == []
    with pytest.raises(UserError, match="the baseline of a was timed in 3 rounds, the test over rounds needs 6"):
        planned_against([row(result(times(3), name="a"), "a-1")], [config], thresholds(), 12)
    config.passes = ["memory"]
    assert planned_against([row(result(times(3), name="a"), "a-1")], [config], thresholds(), 12) == []


def test_more_rounds_where_a_test_could_not_fail() -> None:
    """With on_ambiguous=remeasure the rounds are doubled before the gate is refused."""
    asked: list[int] = []

    def judge() -> GateReport:
        if asked[-1] < 12:
            raise TooFewRoundsError("the gate could not fail")
        return GateReport("base", "head", True, "", [Finding("m", "j", "fps_model", "same", "")])

    def measure(rounds: int) -> int:
        asked.append(rounds)
        return 0

    gate = GateConfig(on_ambiguous="remeasure", max_rounds=12)
    assert measured_until_known(gate, 6, Path("out"), measure, judge).report is not None
    assert asked == [6, 12]
    with pytest.raises(NothingComparedError, match="could not fail"):
        measured_until_known(GateConfig(), 6, Path("out"), measure, judge)


def test_a_threshold_that_no_figure_can_go_beyond() -> None:
    for name, text in (("fps_model", "-100%"), ("mask_ap", "-100"), ("mask_ap", "-120%")):
        with pytest.raises(UserError, match=f"{name}={text}: no {name} can fall by more, so it could not be worse"):
            thresholds(**{name: text})
    assert thresholds(latency_ms_p95="+150%", fps_model="-100").of("a")
    low = result(mask_ap=0.002)
    with pytest.raises(
        UserError, match=r"could not fail: .* the base has 0\.2 points, which cannot fall by more than 0\.2"
    ):
        held(low, low, {"mask_ap": "-0.2"})
    with pytest.raises(UserError, match=r"fps_model .* the base has \S+ images/s, which cannot fall by more than 50"):
        held(result(), result(), {"fps_model": "-50"})
    assert held(result(mask_ap=0.003), result(mask_ap=0.003), {"mask_ap": "-0.2"}).passed
