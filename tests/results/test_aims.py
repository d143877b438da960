"""Test that figures beside their aims say what literal files say, and that what is missing falls short."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import aims
import pytest
from aims import Line
from literal_results import build_result

from bench.device import gpu_memory
from bench.schema.parts.busy import BusyResult
from bench.schema.parts.speed import CompileResult, Timing
from bench.schema.result import Result, write_result

FAILED = '<failure message="assert 1.3 &lt;= 1.1&#10;more">a traceback</failure>'
SKIPPED = '<skipped message="no CUDA device"/>'
RLE, SHARE = "test_on_the_gpu", "test_the_share_is_found"


def words(lines: list[Line]) -> list[tuple[str, bool]]:
    return [(line.measured, line.ok) for line in lines]


def test_rle_of_two_sizes(write_xml: Any) -> None:
    path = write_xml(
        "rle",
        (f"{RLE}[480-640]", {"gpu": "NVIDIA H200", "rle_on_the_gpu_ms": 0.6}, ""),
        (f"{RLE}[800-1333-1.2]", {"rle_on_the_gpu_ms": 1.201}, ""),
    )
    assert aims.rle_lines(path) == [
        Line("100 masks 640x480 to RLE, ms", "0.600", "at most 0.6", True),
        Line("100 masks 1333x800 to RLE, ms", "1.201", "at most 1.2", False),
    ]


def test_a_figure_that_is_missing_falls_short(tmp_path: Path, write_xml: Any) -> None:
    absent = tmp_path / "absent.xml"
    (cut_off := tmp_path / "cut.xml").write_text("<testsuites><testsuite><testcase name=")
    for path in (absent, cut_off, write_xml("none")):
        for read, count in (
            (aims.busy_lines, 1),
            (aims.rle_lines, 2),
            (aims.agreement_lines, 3),
            (aims.evaluation_lines, 1),
        ):
            assert words(read(path)) == [("not measured", False)] * count
        assert words([aims.of_tests(path)]) == [("not measured", False)]


@pytest.mark.parametrize("ratio", [0.98, 1.02, 0.9799, 1.0201, float("nan")])
def test_agreement_within_two_percent_on_both_sides(write_xml: Any, ratio: float) -> None:
    path = write_xml("agreement", ("test_mmdet_inference_benchmark", {"their_time_over_ours": ratio}, ""))
    torchvision, mmdet, detectron2 = aims.agreement_lines(path)
    assert (mmdet.measured, mmdet.ok) == (f"{ratio:.4f}", ratio in (0.98, 1.02))
    assert (torchvision.ok, detectron2.ok) == (False, False)


def test_a_figure_whose_test_failed_or_was_skipped_falls_short(write_xml: Any) -> None:
    name = "test_torchvision_reference"
    path = write_xml("evaluation", (name, {"over_model": 1.05, "faster": 1.2}, FAILED))
    assert words(aims.evaluation_lines(path)) == [("1.05 (its test failed: assert 1.3 <= 1.1)", False)]
    path = write_xml("evaluation", (name, {}, SKIPPED))
    assert words(aims.evaluation_lines(path)) == [("not measured (its test skipped: no CUDA device)", False)]
    assert words([aims.of_tests(path)]) == [("not measured", False)]
    path = write_xml("evaluation", (name, {"over_model": 1.1}, ""))
    assert words(aims.evaluation_lines(path)) == [("1.10", True)]


def test_busy_shares_count_by_every_test_and_in_both_directions(write_xml: Any) -> None:
    tests = [(f"{SHARE}[{share}]", {"gpu_busy_points_off": off}, "") for share, off in ((20, 2.9), (50, -3.1), (90, 3))]
    lines = aims.busy_lines(write_xml("busy", *tests, ("test_memory", {}, "")))
    assert words(lines) == [("2.9", True), ("-3.1", False), ("3.0", True)]
    assert lines[1].what.endswith("[50]")


def test_a_test_that_failed_is_named(write_xml: Any) -> None:
    line = aims.of_tests(write_xml("card", ("test_a", {}, ""), ("test_b[1]", {}, FAILED), ("test_c", {}, SKIPPED)))
    assert line == Line("tests of card", "1 passed, 1 failed: test_b[1]", "all pass", False)
    assert aims.of_tests(write_xml("card", ("test_a", {}, ""), ("test_c", {}, SKIPPED))).ok


def measured(model: str = "toy", precision: str = "fp32", **rest: Any) -> Result:
    """Give a row whose five stages take 2 + 4 + 25 + 3 + 6 = 40 ms, as end to end, and whose GPU is busy for 45 %."""
    result = build_result(**rest)
    result.config["model"]["name"], result.config["precision"] = model, precision
    if result.speed:
        decode, encode = Timing([2.0] * 3, "perf_counter"), Timing([6.0] * 3, "perf_counter")
        result.speed = dataclasses.replace(result.speed, decode=decode, encode=encode)
        result.busy = BusyResult(10, 10, 300.0, 330.0, 135.0, 1000, 10)
    return result


def written(out: Path, *results: Result) -> Path:
    for number, result in enumerate(results):
        write_result(result, out / "jobs" / f"job{number}" / "result.json")
    return out


def test_rows_that_are_as_wanted(tmp_path: Path) -> None:
    assert words(aims.row_lines(written(tmp_path, measured()), 1)) == [
        ("1 of 1", True),
        ("45 %", True),
        ("1.00", True),
        ("0 of 1", True),
    ]


def test_rows_that_fall_short(tmp_path: Path) -> None:
    bare, alarmed = measured("bare"), measured("alarmed")
    assert bare.speed
    assert alarmed.speed
    bare.busy, bare.speed.decode = None, None
    alarmed.speed.encode = Timing([8.1] * 3, "perf_counter")
    alarmed.notes = ["the GPU was in use before this job began: 0.6 GB of its memory taken, 5 % of the time busy"]
    failed = measured(status="failed", reason="it broke", model_ms=None)
    lines = aims.row_lines(written(tmp_path, bare, alarmed, failed), 3)
    assert words(lines[:5]) == [
        ("2 of 3", False),
        ("not measured", False),
        ("not measured", False),
        ("45 %", True),
        ("1.05", False),  # 42.1 of 40 ms
    ]
    assert (lines[5].measured, lines[5].ok) == (f"1 of 2; alarmed fp32: {alarmed.notes[0]}", False)
    assert words(aims.row_lines(tmp_path / "nothing", 2)) == [("0 of 2", False), ("not measured", False)]


def test_the_note_of_a_gpu_in_use_is_known_by_its_words() -> None:
    """The words are looked up where the note is made, since a note with others would be no false alarm here."""
    source = Path(gpu_memory.__file__).read_text(encoding="utf-8")
    said = re.findall(r'f"(the GPU was in use before this job began: [^"]*)"', source)
    assert said
    assert all(map(aims.says_in_use, said))
    assert not aims.says_in_use("the GPU was throttled by heat in 3 of 40 readings")


def test_every_precision_of_a_model(tmp_path: Path) -> None:
    fp16 = measured(precision="fp16", status="failed", reason="RuntimeError: scatter()", model_ms=None)
    out = written(tmp_path, measured(), fp16, measured("other", "bf16"))
    line = aims.precision_line(out, "toy", ("fp32", "fp16", "bf16"))
    assert line == Line(
        "toy in every precision",
        "fp32 ok, fp16 failed, bf16 not measured; fp16: RuntimeError: scatter()",
        "all ok",
        False,
    )
    assert aims.precision_line(out, "toy", ("fp32",)).ok
    assert not aims.precision_line(out, "toy", ()).ok


def test_seconds_of_the_study_from_the_ends_of_four_rows() -> None:
    """20 s to the first row, 17 times 12 s, 4 s of report: 228 s."""
    line = aims.study_line([144.0, 120.0, 132.0, 156.0], began=100.0, ended=160.0)
    assert line == Line("seconds for 18 rows, from 4 (12.0 s a row)", "228", "at most 240", True)
    assert words([aims.study_line([20.0, 33.0], 0.0, 34.0)]) == [("242", False)]
    assert words([aims.study_line([20.0], 0.0, 34.0)]) == [("not measured", False)]


def test_recompilations_while_photographs_were_timed(tmp_path: Path) -> None:
    result = measured()
    assert result.speed
    result.speed.input_sizes = [[800, 1066], [800, 1066], [1066, 800]]
    assert words([aims.compile_line(written(tmp_path / "a", result))]) == [("not measured (toy fp32: ok, None)", False)]
    result.compiled = CompileResult("default", ["backbone"], 30.0, 2, 0)
    assert words([aims.compile_line(written(tmp_path / "b", result))]) == [("0", True)]
    result.speed.rounds[0].recompilations = 2
    assert words([aims.compile_line(written(tmp_path / "c", result))]) == [("2", False)]
    result.speed.rounds[0].recompilations = 0
    result.notes = ["compile=default: torch.compile gave up 1 of 3 pieces of the model's code, which ran uncompiled"]
    assert not aims.compile_line(written(tmp_path / "d", result)).ok
    result.notes, result.speed.input_sizes = [], [[800, 800]] * 3
    assert words([aims.compile_line(written(tmp_path / "e", result))]) == [
        ("not measured (all inputs had one size)", False)
    ]


def test_the_table() -> None:
    lines = [Line("seconds", "228", "at most 240", True), Line("a longer name", "not measured", "0", False)]
    assert aims.table(lines).splitlines() == [
        "what          | measured     | aim         | ok",
        "--------------|--------------|-------------|----",
        "seconds       | 228          | at most 240 | yes",
        "a longer name | not measured | 0           | NO",
    ]
