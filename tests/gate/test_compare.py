"""Tests the gate on literal results: each verdict, what is not comparable, the exit status of the command."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_cases import MACHINE, QUIET, result, row, speed

from bench.cli.gate import main
from bench.errors import UserError
from bench.gate.compare import check_gate, compare
from bench.gate.rows import load_rows
from bench.schema.config import GateConfig
from bench.schema.gate_report import Finding, GateReport, read_report
from bench.schema.result import Result, write_result
from bench.schema.row import Row

NAMES = ("base", "head")
SHIFTED = np.random.default_rng(0).normal(0, 0.01, 200)
"""How replicates of an AP scatter about it."""


def gate(**changes: Any) -> GateConfig:
    thresholds = {"fps_model": "-2%", "peak_reserved_mb": "+2%", "energy_j_per_image": "+5%", "mask_ap": "-0.2"}
    return GateConfig(thresholds=changes.pop("thresholds", thresholds), **changes)


def held(base: Result, head: Result, **changes: Any) -> GateReport:
    return compare([row(base)], [row(head)], gate(**changes), NAMES)


def of(report: GateReport, metric: str) -> Finding:
    [finding] = [f for f in report.findings if f.metric == metric]
    return finding


def test_the_same_twice() -> None:
    report = held(result(), result())
    assert {f.metric: f.verdict for f in report.findings} == {
        **dict.fromkeys(("status", "fps_model", "peak_reserved_mb", "energy_j_per_image", "mask_ap"), "same"),
    }
    assert report.passed
    assert report.outcome == "nothing of 4 comparisons is worse"


def test_thresholds_of_a_model_that_has_no_row_are_refused() -> None:
    """They were ignored, so the common thresholds held for the model that was meant."""
    name = result().config["model"]["name"]
    assert held(result(), result(), models={name: {"fps_model": "-5%"}}).passed
    with pytest.raises(UserError) as refused:
        held(result(), result(), models={name + "t": {"fps_model": "-5%"}})
    assert str(refused.value) == f"gate.models: '{name}t' is the model of no row of this gate; did you mean {name}?"


def test_ten_percent_slower_is_worse_and_says_by_how_much() -> None:
    report = held(result(), result([1.1 * ms for ms in QUIET]))
    finding = of(report, "fps_model")
    assert finding.verdict == "worse"
    # 1 / 1.1 = 0.90909; each of the twelve rounds is slower than all others: 2 of C(24, 12), times two tests.
    assert finding.change == pytest.approx(-0.0909, abs=0.002)
    assert finding.p == pytest.approx(2 * 2 / 2704156)
    assert (finding.base, finding.head) == (pytest.approx(10.0, abs=0.01), pytest.approx(9.09, abs=0.01))
    assert finding.sentence.startswith("solov2_r50_mmdet: fps_model fell by 9.")
    assert (
        "median rounds 9.998 and 9.089 images/s; threshold -2%; p = 1.5e-06 (Mann-Whitney over 12 and 12 rounds"
        in finding.sentence
    )
    assert "Holm over 2 tests)" in finding.sentence
    assert not report.passed
    assert report.outcome == "1 of 4 comparisons worse: solov2_r50_mmdet fps_model"


def test_ten_percent_faster_is_better_and_passes() -> None:
    report = held(result(), result([0.9 * ms for ms in QUIET]))
    assert of(report, "fps_model").verdict == "better"
    assert report.passed


def test_one_percent_slower_is_real_but_within_the_threshold() -> None:
    finding = of(held(result(), result([1.01 * ms for ms in QUIET])), "fps_model")
    assert (finding.verdict, finding.p is not None and finding.p < 0.001) == ("same", True)


def test_a_noisy_machine_is_ambiguous_and_not_worse() -> None:
    """Where rounds scatter by 10 %, a median 3 % slower is beyond the threshold and proves nothing."""
    rng = np.random.default_rng(3)
    base, head = 100 * np.exp(rng.normal(0, 0.1, (2, 12)))
    head *= 1.03 * np.median(base) / np.median(head)
    report = held(result(base), result(head))
    assert of(report, "fps_model").verdict == "ambiguous"
    assert report.passed
    assert "1 ambiguous" in report.outcome
    assert not held(result(base), result(head), on_ambiguous="fail").passed


def test_pairs_see_through_a_drift_that_rounds_alone_do_not() -> None:
    drift = np.linspace(1.0, 1.3, 12)
    base, head = QUIET * drift, 1.05 * np.array(QUIET[::-1]) * drift
    assert of(held(result(base), result(head)), "fps_model").verdict == "ambiguous"
    finding = of(held(result(base, interleaved="t"), result(head, interleaved="t")), "fps_model")
    assert finding.verdict == "worse"
    assert finding.p == pytest.approx(2 * 2 / 2**12)
    assert finding.test.startswith("bootstrap over 12 pairs of rounds, each batch against itself")


def test_rounds_are_compared_on_the_same_images() -> None:
    """The head had time for a third batch, of a large image; the batches that both have are equal."""
    base, head = result(), result()
    head.speed = speed([[ms, ms, 5 * ms] for ms in QUIET])
    finding = of(held(base, head), "fps_model")
    assert (finding.verdict, finding.change) == ("same", 0.0)


def test_figures_read_once_are_compared_as_they_are() -> None:
    report = held(result(), result(reserved=1_020_000_000, joules=530.0))
    assert of(report, "peak_reserved_mb").verdict == "same"  # 2 % is not beyond 2 %
    assert of(report, "energy_j_per_image").verdict == "worse"
    finding = of(held(result(), result(reserved=1_021_000_000)), "peak_reserved_mb")
    assert (finding.verdict, finding.p, finding.low) == ("worse", None, None)
    assert finding.sentence == (
        "solov2_r50_mmdet: peak_reserved_mb rose by 2.10 %, from 1000 to 1021 MB; threshold +2%"
    )


def test_ap_is_tested_over_the_same_draws_of_images() -> None:
    """Where replicates move together, a fall of half a point is far beyond the scatter of the draws."""
    base = result(mask_ap=0.372, replicates=0.372 + SHIFTED)
    head = result(mask_ap=0.367, replicates=0.367 + SHIFTED + np.random.default_rng(1).normal(0, 0.001, 200))
    finding = of(held(base, head), "mask_ap")
    assert finding.verdict == "worse"
    assert finding.change == pytest.approx(-0.5)
    assert finding.low == pytest.approx(-0.7, abs=0.05)
    assert "mask_ap fell by 0.50 points" in finding.sentence
    # Where replicates do not move together, the choice of images may explain the same fall.
    head = result(mask_ap=0.367, replicates=0.367 + np.random.default_rng(2).normal(0, 0.01, 200))
    assert of(held(base, head), "mask_ap").verdict == "ambiguous"
    head.accuracy.bootstrap.images_sha256 = "others"  # type: ignore[union-attr]
    assert of(held(base, head), "mask_ap").verdict == "not comparable"


@pytest.mark.parametrize(
    ("change", "words", "still"),
    [
        ({"weights": "bb" * 32}, "weights aaaaaaaaaaaa against bbbbbbbbbbbb", []),
        ({"precision": "fp16"}, "precision fp32 against fp16", []),
        ({"input_size": "640x640"}, "input size none against 640x640", []),
        ({"overlap": "highest_score"}, "overlap keep against highest_score", ["fps_model", "peak_reserved_mb"]),
        ({"gpu": {"name": "NVIDIA H100"}}, "GPU NVIDIA H200 against NVIDIA H100", ["mask_ap"]),
        ({"gpu": {"driver_version": "570"}}, "GPU driver 580.65 against 570", ["mask_ap"]),
        ({"gpu": {"power_limit_watts": 350.0}}, "power limit 700.0 against 350.0", ["mask_ap", "peak_reserved_mb"]),
        ({"gpu": {"clocks_set_by_user": True}}, "clocks set by the user False against True", ["mask_ap"]),
        ({"cpu": {"usable_cores": 2}}, "usable cores 16 against 2", ["mask_ap"]),
    ],
)
def test_what_is_not_comparable_is_said(change: dict[str, Any], words: str, still: list[str]) -> None:
    machine = copy.deepcopy(MACHINE)
    settings = {}
    for key, value in change.items():
        if key in ("gpu", "cpu"):
            machine[key] = {**machine[key], **value}
        else:
            settings[key] = value
    base, head = result(), result(machine=machine, **settings)
    report = compare([row(base)], [row(head, "another-job")], gate(allow=["measurement"]), NAMES) if still else None
    if report is None:
        with pytest.raises(UserError, match="nothing could be compared") as caught:
            held(base, head)
        assert words in str(caught.value)
        return
    refused = [f for f in report.findings if f.verdict == "not comparable"]
    assert all(words in f.sentence for f in refused)
    compared = {f.metric for f in report.findings if f.verdict == "same"} - {"status"}
    assert set(still) <= compared
    assert compared.isdisjoint(f.metric for f in refused)


def test_the_version_of_the_way_of_measuring() -> None:
    base, head = result(), result()
    head.measurement_version += 1
    with pytest.raises(UserError, match="version of the way of measuring 1 against 2"):
        held(base, head)
    assert held(base, head, allow=["measurement"]).passed


def test_a_gpu_that_ran_at_another_clock() -> None:
    from bench.schema.parts.speed import GpuReadings

    base, head = result(), result()
    for measured, mhz in ((base, 1980), (head, 1400)):
        assert measured.speed is not None
        for part in measured.speed.rounds:
            part.gpu = GpuReadings([mhz, None, mhz], [2619], [50], [400.0], {}, 0, False)
    finding = of(held(base, head), "fps_model")
    assert finding.verdict == "not comparable"
    assert "SM clock 1980 MHz against 1400 MHz" in finding.sentence


def test_too_few_rounds() -> None:
    with pytest.raises(UserError, match=r"could not fail: .* the base was timed in 5 rounds, the test .* needs 6"):
        held(result(QUIET[:5]), result())
    report = held(result(QUIET[:5]), result(reserved=2_000_000_000))
    assert (of(report, "fps_model").verdict, of(report, "mask_ap").verdict) == ("not comparable", "same")
    assert (of(report, "peak_reserved_mb").verdict, report.passed) == ("worse", False)  # what is found stays found
    assert of(held(result(QUIET[:6]), result()), "fps_model").verdict == "same"


def test_a_metric_that_only_one_side_has() -> None:
    head = result()
    head.energy = None
    report = held(result(), head)
    finding = of(report, "energy_j_per_image")
    assert (finding.verdict, finding.base, finding.head, report.passed) == ("worse", 5.0, None, False)
    assert (
        "only in the base, the head has none; gate.thresholds.energy_j_per_image=none leaves it out" in finding.sentence
    )
    head.config["passes"].remove("energy")  # it was not asked for
    report = held(result(), head)
    assert (of(report, "energy_j_per_image").verdict, report.passed) == ("not comparable", True)
    report = held(head, result())
    assert (of(report, "energy_j_per_image").verdict, report.passed) == ("not comparable", True)


def test_what_ran_before_must_run_now() -> None:
    report = held(result(), result(status="out_of_memory", reason="CUDA out of memory"))
    assert of(report, "status").verdict == "worse"
    assert "ran in the base, out_of_memory in the head: CUDA out of memory" in of(report, "status").sentence
    assert not report.passed
    report = held(result(), result(status="skipped", reason="my_helpres is not installed"))
    assert of(report, "status").sentence.endswith("ran in the base, skipped in the head: my_helpres is not installed")
    assert (of(report, "status").verdict, report.passed) == ("worse", False)
    assert report.outcome == "1 of 1 comparison worse: solov2_r50_mmdet status"
    both = [row(result(name="other"), "other-1")]
    report = compare([row(result(status="crashed")), *both], [row(result()), *both], gate(), NAMES)
    assert {f.verdict for f in report.findings if f.metric == "status"} == {"better", "same"}


def test_rows_of_one_side_and_rows_of_another_setting() -> None:
    base = [row(result(name="a"), "a-1"), row(result(name="gone"), "gone-1"), row(result(name="b"), "b-1")]
    head = [
        row(result(name="a", precision="fp16"), "a-2"),
        row(result(name="a"), "a-1"),
        row(result(name="b", precision="fp16"), "b-2"),
        row(result(name="new"), "new-1"),
    ]
    assert [f.sentence for f in compare(base, head, gate(), NAMES).of("worse")] == [
        "gone: is in the base and not in the head; gate.allow=[fewer_rows] lets it pass"
    ]
    report = compare(base, head, gate(allow=["fewer_rows"]), NAMES)
    assert report.passed
    finding_of = {(f.model, f.metric): f for f in report.findings}
    assert finding_of["a · fp32", "fps_model"].verdict == "same"
    assert "only in the head" in finding_of["a · fp16", "status"].sentence
    assert "only in the base" in finding_of["gone", "status"].sentence
    assert "precision fp32 against fp16" in finding_of["b", "fps_model"].sentence
    assert "only in the head" in finding_of["new", "status"].sentence


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["base", "head"])
def test_a_figure_that_is_no_number_never_passes(wrong: float, side: str) -> None:
    def refused(change: Callable[[Result], None], words: str) -> None:
        sides = {"base": result(), "head": result()}
        change(sides[side])
        with pytest.raises(UserError, match=f"the gate could not fail: .* is not comparable: {words}"):
            held(sides["base"], sides["head"])

    def ap(measured: Result) -> None:
        measured.accuracy.figures["mask_ap"] = wrong  # type: ignore[union-attr,index]

    def memory(measured: Result) -> None:
        measured.memory.peak_reserved_bytes = wrong  # type: ignore[union-attr,assignment]

    def replicate(measured: Result) -> None:
        measured.accuracy.bootstrap.mask_ap[3] = wrong  # type: ignore[union-attr]

    def latency(measured: Result) -> None:
        measured.speed.model.latency_ms[5] = wrong  # type: ignore[union-attr]

    refused(ap, f"the {side} has")
    refused(memory, f"the {side} has")
    refused(replicate, "a bootstrap replicate is no finite number")
    refused(latency, f"the {side} has")


def test_holm_is_over_all_tests_of_all_models() -> None:
    """One of six models is slower; 6 speeds and 6 APs are tested, and the p-value is corrected for all twelve."""
    base = [row(result(name=f"m{n}"), f"m{n}") for n in range(6)]
    head = [row(result([1.1 * ms for ms in QUIET] if n == 0 else QUIET, name=f"m{n}"), f"m{n}") for n in range(6)]
    report = compare(base, head, gate(), NAMES)
    [worse] = report.of("worse")
    assert worse.p == pytest.approx(12 * 2 / 2704156)
    assert worse.test.endswith("Holm over 12 tests")


def test_an_impossible_gate_is_refused() -> None:
    for changes, words in (
        ({"rounds": 5}, "gate.rounds=5: the test over rounds needs 6 or more"),
        ({"alpha": 0.0}, "gate.alpha=0"),
        ({"on_ambiguous": "ignore"}, "gate.on_ambiguous=ignore: unknown, must be pass or fail or remeasure"),
        ({"allow": ["drivers"]}, "gate.allow=drivers: no such difference; did you mean driver?"),
        ({"thresholds": {"fps_model": "none"}}, "every metric is none"),
    ):
        with pytest.raises(UserError) as caught:
            check_gate(gate(**changes))
        assert words in str(caught.value)


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, *rows: Row) -> Path:
        for one in rows:
            write_result(one.result, tmp_path / name / "jobs" / one.job / "result.json")
        return tmp_path / name

    return write


def test_the_command(write_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, slow = write_run("base", row(result())), write_run("slow", row(result([1.1 * ms for ms in QUIET])))
    assert main([str(base), str(write_run("again", row(result())))]) == 0
    assert main([str(base), str(slow), "--out", str(tmp_path / "out")]) == 3
    report = read_report(tmp_path / "out" / "gate.json")
    assert {(f.metric, f.verdict) for f in report.of("worse")} == {("fps_model", "worse"), ("fps_end_to_end", "worse")}
    assert "fps_model fell by" in " ".join(capsys.readouterr().out.split())
    assert main([str(base), str(slow), "thresholds.fps_model=-12%", "thresholds.fps_end_to_end=none"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{base}", "{base}/nowhere"], "nowhere: no such folder"),
        (["{empty}", "{base}"], "no result.json in it"),
        (["{base}", "{base}", "thresholds.fps_modle=-3%"], "did you mean fps_model"),
        (["{base}", "{base}", "on_ambigous=fail"], "did you mean on_ambiguous"),
        (["{base}", "{copy}", "thresholds.mask_ap=+1"], "a higher mask_ap is better"),
        (["{base}", "{base}"], "has the results of"),
        (["{above}", "{base}"], "itself, which cannot be worse than themselves"),
        (["{base}/jobs", "{base}"], "itself, which cannot be worse than themselves"),
        (["{base}", "{copy}", "on_ambiguous="], "on_ambiguous= is empty (an unset variable?)"),
        (["{base}", "{other}"], "schema_version 99, this maskbench reads 3"),
    ],
)
def test_wrong_input(
    arguments: list[str], words: str, write_run: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    base = write_run("base", row(result()))
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text('{"schema_version": 99}')
    copy = write_run("copy", row(result()))
    names = {"base": base, "copy": copy, "above": tmp_path, "empty": tmp_path / "empty", "other": tmp_path / "other"}
    assert main([argument.format(**names) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["", "runs"], ["runs", ""], ["runs", "head", "--out", ""], ["a", "b", "--history="]]
)
def test_an_empty_argument_is_not_the_current_folder(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("runs", "head"):
        write_result(result(), tmp_path / name / "jobs" / "a" / "result.json")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "is empty (an unset variable?)" in capsys.readouterr().err


def test_both_sides_of_a_gate_are_no_run(tmp_path: Path) -> None:
    """The base's figures were judged as the head's, since both folders hold the same job."""
    for side in ("base", "head"):
        write_result(result(), tmp_path / side / "jobs" / "j" / "result.json")
    with pytest.raises(UserError, match=r"has both sides of a gate; give .*head, or .*base"):
        load_rows(tmp_path)
    assert len(load_rows(tmp_path / "head")) == 1


def test_the_reason_of_a_base_that_failed_is_told() -> None:
    broken = result(status="failed", reason="ModuleNotFoundError: No module named 'helper'")
    with pytest.raises(UserError, match="No module named 'helper'"):
        compare([row(broken)], [row(result())], gate(), NAMES)


def test_rounds_that_stand_on_both_sides_are_not_compared() -> None:
    """A run that went on, or was copied, was its own baseline: nothing of it can be worse than itself."""
    base = result()
    assert base.speed is not None
    for number, timed in enumerate(base.speed.rounds):
        timed.started = f"2026-11-26T10:00:{number:02d}+00:00"
    with pytest.raises(UserError, match="both hold the same rounds"):
        compare([row(base)], [row(copy.deepcopy(base))], gate(), NAMES)
    head = copy.deepcopy(base)
    assert head.speed is not None
    for timed in head.speed.rounds:
        timed.started = "2026-11-26T11:00:00+00:00"
    assert compare([row(base)], [row(head)], gate(), NAMES).passed
