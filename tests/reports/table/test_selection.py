"""Test on literal results which row is chosen and why others are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from literal_results import with_busy, with_disturbed_batches, with_replicates

from bench.errors import UserError
from reports.__main__ import main
from reports.table.comparison import Comparison, load
from reports.table.limits import parse_limits
from reports.table.selection import answer, select


@pytest.fixture
def comparison(tmp_path: Path, make_result: Any, write_run: Any) -> Comparison:
    """Give rows of 100, 50, 25 and 40 FPS and AP 30, 40, 42 and 45, the last without memory, and a failed one."""
    rows = [("A", 10.0, 0.30), ("B", 20.0, 0.40), ("C", 40.0, 0.42)]
    results = [make_result(family, library="torchvision", model_ms=[ms] * 3, mask_ap=ap) for family, ms, ap in rows]
    results.append(
        make_result("D", library="mmdet", model_ms=[25.0] * 3, mask_ap=0.45, memory={"host_rss_bytes": 10**9})
    )
    results.append(make_result("E", library="mmdet", status="crashed", reason="killed by SIGKILL"))
    return load([write_run(tmp_path / "run", results)], tmp_path)


def families(comparison: Comparison, rows: list[int]) -> list[str]:
    return [comparison.text(row, "model") for row in rows]


def test_best_of_those_that_are_quick_and_small_enough(comparison: Comparison) -> None:
    selection = select(comparison, "fps_model >= 30 and peak_reserved_mb <= 2000", "mask_ap")
    assert families(comparison, selection.satisfying) == ["B", "A"]
    why = {comparison.text(row, "model"): text for row, text in selection.fallen}
    assert why == {
        "C": "fps_model >= 30: 25.00 [25.00, 25.00]",
        "D": "peak_reserved_mb <= 2000: not measured",
        "E": "crashed: killed by SIGKILL",
    }


def test_less_is_better_where_it_is(comparison: Comparison) -> None:
    selection = select(comparison, "library == 'torchvision'", "latency_ms_p50")
    assert families(comparison, selection.satisfying) == ["A", "B", "C"]
    assert families(comparison, select(comparison, "fps_model > 90 or mask_ap > 43", None).satisfying) == ["D", "A"]


def test_what_is_not_distinguishable_is_said(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, 200)
    results = [
        with_replicates(make_result(name, library="mmdet", mask_ap=ap), (ap + sign * noise).tolist())
        for name, ap, sign in (("A", 0.40, 1), ("B", 0.39, -1), ("C", 0.10, 1))
    ]
    comparison = load([write_run(tmp_path / "run", results)], tmp_path)
    text, _ = answer(comparison, None, "mask_ap")
    first, then = text.splitlines()[1], text.splitlines()[3:5]
    assert first.lstrip().startswith("A")
    assert [line.endswith("(not distinguishable from the best)") for line in then] == [True, False]


def test_a_value_that_fell_out_is_printed_so_that_it_shows_why(
    tmp_path: Path, make_result: Any, write_run: Any
) -> None:
    results = [with_busy(make_result("A", mask_ap=0.37196), 79.6), with_busy(make_result("B", mask_ap=0.3), 95)]
    comparison = load([write_run(tmp_path / "run", results)], tmp_path)
    text, _ = answer(comparison, "gpu_busy_percent >= 80", None)
    assert "A R50-FPN · torchvision: gpu_busy_percent >= 80: 79.6" in text
    assert "B R50-FPN · torchvision: gpu_busy_percent 95 %" in text
    text, _ = answer(comparison, "gpu_busy_percent < 80", None)
    assert "A R50-FPN · torchvision: gpu_busy_percent 79.6 %" in text
    assert select(comparison, "mask_ap >= 37.2 or gpu_busy_percent > 95", None).unsure[0][1] == (
        "mask_ap >= 37.2 or gpu_busy_percent > 95: mask_ap 37.196 [35.7, 38.7], gpu_busy_percent 79.60"
    )
    [limit] = parse_limits({"mask_ap": ">= 37.2"})
    assert limit.violation(comparison, 0) == "mask_ap >= 37.2: 37.196 points [35.7, 38.7]"


def test_notes_stand_beside_the_answer(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [make_result(name, model_ms=[ms] * 3) for name, ms in (("A", 10.0), ("B", 20.0))]
    for name, result in zip("AB", results, strict=True):
        result.notes = [f"{name}: other processes use the GPU"]
    comparison = load([write_run(tmp_path / "run", results)], tmp_path)
    lines = answer(comparison, None, "fps_model")[0].splitlines()
    assert lines[2] == "    note: A: other processes use the GPU"
    assert sum("note:" in line for line in lines) == 1  # of the others a reader asks when he wants them
    assert answer(comparison, "fps_model > 1", None)[0].count("    note: ") == 2


def test_figures_of_noise_are_told_where_they_are_asked_for(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [
        make_result("A", weights="random", model_ms=[10.0] * 3, mask_ap=None, ends_ms=(1.0, 0.5)),
        make_result("B", model_ms=[10.0] * 3, ends_ms=(1.0, 0.5)),
    ]
    comparison = load([write_run(tmp_path / "run", results)], tmp_path)
    text, _ = answer(comparison, "fps_end_to_end >= 30 and encode_ms < 1", None)
    [noisy] = [line for line in text.splitlines() if line.startswith("  A")]
    [other] = [line for line in text.splitlines() if line.startswith("  B")]
    assert noisy.count("(not to be compared)") == 2
    assert "not to be compared" not in other
    assert "! FPS end-to-end and Encode, not to be compared: with random weights" in text
    text, _ = answer(comparison, "fps_end_to_end >= 1000", None)
    assert "A R50-FPN · torchvision: fps_end_to_end >= 1000: 50.00 (not to be compared)" in text
    assert "not to be compared" not in answer(comparison, "fps_model > 1", None)[0]


def test_rows_of_different_datasets_are_not_compared(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [make_result("A"), make_result("B", dataset={"name": "shapes"})]
    text, _ = answer(load([write_run(tmp_path / "run", results)], tmp_path), None, "fps_model")
    assert "! these rows differ in data set, so they cannot be compared" in text


@pytest.mark.parametrize(
    ("where", "best", "words"),
    [
        ("fps_modell > 3", None, "fps_modell: no such column; did you mean fps_model"),
        ("fps_model > 'x'", None, "--where \"fps_model > 'x'\""),
        ("fps_model >", None, "--where 'fps_model >'"),
        ("fps_model", None, "is no condition"),
        (None, "mask_app", "mask_app: no such column; did you mean mask_ap"),
        (None, "library", "neither more nor less of it is better"),
    ],
)
def test_bad_input(comparison: Comparison, where: str | None, best: str | None, words: str) -> None:
    with pytest.raises(UserError) as caught:
        select(comparison, where, best)
    assert words in str(caught.value)


def test_command(comparison: Comparison, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main([run, "--where", "fps_model >= 30", "--best", "mask_ap"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "best mask_ap with fps_model >= 30:"
    assert out[1].startswith("  D R50-FPN · mmdet: mask_ap 45.0 points [43.5, 46.5], fps_model 40.00 images/s")
    assert not (tmp_path / "run" / "comparison.html").exists(), "a question writes no report"
    assert main([run, "--where", "fps_model >= 3000"]) == 1
    assert capsys.readouterr().out.startswith("no row with fps_model >= 3000\nfell out:\n")
    assert main([run, "--best", "speed"]) == 2
    assert "speed: no such column" in capsys.readouterr().err


def test_a_limit_inside_an_interval_leaves_the_row_open(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    """Of 1, 60, 2 and 90 ms a batch nothing follows for a limit of 5 FPS; of 99 to 101 ms it does."""
    results = [
        make_result("Known", model_ms=[99.0, 100.0, 101.0] * 5, mask_ap=0.3),
        make_result("Open", model_ms=[100.0, 180.0, 400.0, 380.0], mask_ap=0.4),
        make_result("Unknown", model_ms=[1.0, 60.0, 2.0, 90.0], mask_ap=0.5),
        make_result("Slow", model_ms=[999.0, 1000.0, 1001.0] * 5, mask_ap=0.6),
    ]
    comparison = load([write_run(tmp_path / "run", results)], tmp_path)
    chosen = select(comparison, "fps_model >= 5", "mask_ap")
    assert families(comparison, chosen.satisfying) == ["Known"]
    assert families(comparison, [row for row, _ in chosen.unsure]) == ["Unknown", "Open"]
    assert families(comparison, [row for row, _ in chosen.fallen]) == ["Slow"]
    text, found = answer(comparison, "fps_model >= 5", "mask_ap")
    assert found
    assert text.index("not known well enough, since the limit lies inside the 95 % interval:") < text.index("fell out:")
    assert "  Open R50-FPN · torchvision: fps_model >= 5: 3.77 [2.00, 34.29]" in text
    assert "fps_model >= 5: 26.14 (too few or too unequal batches for an interval)" in text
    # The opposite is open for the same rows, and a condition that something else decides is not open.
    opposite = select(comparison, "not fps_model >= 5", None)
    assert {row for row, _ in opposite.unsure} == {row for row, _ in chosen.unsure}
    decided = select(comparison, "fps_model >= 5 and library == 'mmdet'", None)
    assert not decided.unsure
    text, found = answer(comparison, "fps_model >= 12", None)
    assert not found
    assert text.startswith("no row is known to be one with fps_model >= 12")


def test_rows_whose_fps_overlaps_are_not_distinguishable(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    rows = [("A", [9.0, 10.0, 11.0] * 5), ("B", [9.2, 10.2, 11.2] * 5), ("C", [29.0, 30.0, 31.0] * 5)]
    results = [make_result(name, model_ms=ms) for name, ms in rows]
    comparison = load([write_run(tmp_path / "run", results)], tmp_path)
    assert families(comparison, select(comparison, None, "fps_model").tied) == ["B"]
    marked = {comparison.text(row, "model") for row, column in comparison.best if column == "fps_model"}
    assert marked == {"A", "B"}


def test_figures_of_a_column_have_the_same_decimals(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [make_result("A"), make_result("B")]
    for result, flops in zip(results, (1_100_000, 17.5e9), strict=True):
        result.flops.mean = flops
    comparison = load([write_run(tmp_path / "run", results)], tmp_path)
    assert sorted(comparison.text(row, "gflops") for row in (0, 1)) == ["0.0011", "17.5000"]


def test_rows_without_a_mark_are_not_disturbed(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [make_result("Quiet"), with_disturbed_batches(make_result("Loud"))]
    comparison = load([write_run(tmp_path / "run", results)], tmp_path)
    assert families(comparison, select(comparison, "marks != 'disturbed'", None).satisfying) == ["Quiet"]
    assert families(comparison, select(comparison, "marks == 'disturbed'", None).satisfying) == ["Loud"]
    assert (
        "Quiet R50-FPN · torchvision: marks == 'disturbed': no mark"
        in answer(comparison, "marks == 'disturbed'", None)[0]
    )
    assert "Quiet R50-FPN · torchvision: marks no mark" in answer(comparison, "marks != 'disturbed'", None)[0]
    [limit] = parse_limits({"marks": "!= disturbed"})
    quiet, loud = (0, 1) if comparison.text(0, "model") == "Quiet" else (1, 0)
    assert limit.violation(comparison, quiet) is None
    assert limit.violation(comparison, loud) == "marks != disturbed: disturbed"


def test_data_of_one_name_and_two_contents_are_not_compared(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [make_result("A"), make_result("B")]
    for result, digest in zip(results, ("1" * 64, "2" * 64), strict=True):
        result.contents["dataset"] = digest
    text, _ = answer(load([write_run(tmp_path / "run", results)], tmp_path), None, "mask_ap")
    assert text.endswith("\n! these rows differ in data set, so they cannot be compared")


def test_what_a_user_chooses_is_told_and_can_be_compared(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [make_result("A"), make_result("B", precision="fp16", batch_size=4)]
    text, _ = answer(load([write_run(tmp_path / "run", results)], tmp_path), None, "mask_ap")
    assert text.endswith(
        "\n! these rows differ in precision and batch size, so a difference between them is not one of the models alone"
    )
