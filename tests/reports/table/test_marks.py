"""Test that what makes a row's speed mean less than it seems is told wherever the row stands."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result, with_busy, with_disturbed_batches, with_few_samples
from rich.console import Console

from bench.schema.facts import gpu_busy
from bench.schema.marks import marks
from bench.schema.parts.speed import CompileResult, GpuReadings
from bench.schema.result import Result
from reports.page.busy import busy_details
from reports.page.comparison_page import Pictures, write_html
from reports.table.comparison import Comparison, load, write_csv, write_json
from reports.table.selection import answer, select
from reports.text.conditions import ROW_COLUMNS, conditions, row_conditions
from reports.text.latex import write_latex
from reports.text.markdown import write_markdown
from reports.text.terminal import terminal_table

MANY = 40


def row(family: str, ms: float, mask_ap: float = 0.3, samples: int = MANY) -> Result:
    return build_result(family, model_ms=[ms] * samples, mask_ap=mask_ap)


@pytest.fixture
def folder(tmp_path: Path, write_run: Any) -> Path:
    """Write five rows, the fastest of which was disturbed and the second of which has few samples."""
    results = [
        with_busy(with_disturbed_batches(row("Disturbed", 5)), 95),
        with_few_samples(with_busy(row("Few", 10, samples=3), 95)),
        with_busy(row("Bound", 20), 22),
        with_busy(row("Free", 30), 93),
        with_busy(row("Slow", 40, mask_ap=0.5), 35),
    ]
    return Path(write_run(tmp_path / "run", results))


@pytest.fixture
def comparison(folder: Path, tmp_path: Path) -> Comparison:
    return load([folder], tmp_path)


def number(comparison: Comparison, model: str) -> int:
    return next(n for n, one in enumerate(comparison.rows) if one.setting("model", "family") == model)


def test_a_row_below_80_percent_is_host_bound() -> None:
    for percent, bound in ((79.6, True), (80.0, False), (100.0, False)):
        result = with_busy(row("A", 20), percent)
        assert [mark.name for mark in marks(result)] == (["host-bound"] if bound else [])
    [mark] = marks(with_busy(row("A", 20), 79.6))
    assert mark.sentence == "the GPU computed 79.6 % of the time"
    [mark] = marks(with_busy(row("A", 20), 22))
    assert mark.sentence == "the GPU computed 22 % of the time"
    assert marks(row("A", 20)) == []  # not measured
    nothing = with_busy(row("A", 20), 22)
    assert nothing.busy is not None
    nothing.busy.plain_ms = 0.0
    assert gpu_busy(nothing.busy) is None


def test_the_columns(comparison: Comparison, tmp_path: Path) -> None:
    bound = number(comparison, "Bound")
    texts = {
        name: comparison.text(bound, name) for name in ("gpu_busy_percent", "gpu_ms", "kernels_per_image", "marks")
    }
    assert texts == {"gpu_busy_percent": "22", "gpu_ms": "6.60", "kernels_per_image": "1423", "marks": "host-bound"}
    assert comparison.cell(number(comparison, "Free"), "marks") is None
    write_csv(comparison, tmp_path / "c.csv")
    write_json(comparison, tmp_path / "c.json")
    assert ",host-bound," in (tmp_path / "c.csv").read_text()
    records = json.loads((tmp_path / "c.json").read_text())
    assert {record["model"]: record["marks"] for record in records} == {
        "Disturbed": "disturbed",
        "Few": "few samples",
        "Bound": "host-bound",
        "Free": None,
        "Slow": "host-bound",
    }


def test_a_disturbed_row_is_never_the_best_in_speed_busy_or_energy(comparison: Comparison) -> None:
    best = {column: comparison.cell(row, "model") for row, column in comparison.best}
    assert best["fps_model"] == "Bound"  # a mark that does not forbid it
    assert best["latency_ms_p50"] == "Bound"
    assert best["gpu_busy_percent"] == "Free"
    assert best["mask_ap"] == "Slow"
    assert "without rows that are marked disturbed or few samples" in comparison.best_words()


def test_it_stays_in_the_comparison_of_other_figures(write_run: Any, tmp_path: Path) -> None:
    rows = [with_disturbed_batches(row("A", 5, mask_ap=0.4)), row("B", 30), row("C", 40)]
    comparison = load([write_run(tmp_path, rows)], tmp_path)
    assert {comparison.cell(row, "model") for row, column in comparison.best if column == "mask_ap"} == {"A"}
    assert {comparison.cell(row, "model") for row, column in comparison.best if column == "fps_model"} == {"B"}


def test_with_only_such_rows_there_is_no_best(write_run: Any, tmp_path: Path) -> None:
    rows = [with_disturbed_batches(row("A", 5)), with_disturbed_batches(row("B", 6))]
    comparison = load([write_run(tmp_path, rows)], tmp_path)
    assert not {column for _, column in comparison.best if column.startswith(("fps", "latency"))}


def test_no_marked_row_silently_wins_a_selection(comparison: Comparison) -> None:
    chosen = select(comparison, None, "fps_model")
    assert [comparison.cell(row, "model") for row in chosen.satisfying] == ["Bound", "Free", "Slow"]
    why = {comparison.cell(row, "model"): text for row, text in chosen.fallen}
    assert why["Disturbed"].startswith("disturbed: 68 % of its batches were timed while other programs")
    assert why["Disturbed"].endswith("so its fps_model is never the best")
    assert why["Few"].startswith("few samples: 3 batches were timed")
    text, found = answer(comparison, "fps_model>=20", "mask_ap")
    assert found
    assert "Slow R50-FPN · torchvision: mask_ap 50.0 points" in text
    assert "fps_model 25.00 images/s [25.00, 25.00] [host-bound: the GPU computed 35 % of the time]" in text
    assert "[disturbed: 68 % of its batches" in text
    assert "[" not in answer(comparison, None, "peak_allocated_mb")[0]  # a memory means what it says


def test_conditions_name_what_was_seen_in_which_rows_and_what_would_help(comparison: Comparison) -> None:
    facts = dict(conditions(comparison))
    assert facts["host-bound"] == (
        "the GPU computed 35 % of the time [Slow R50-FPN · torchvision]; the GPU computed 22 % of the time "
        "[Bound R50-FPN · torchvision]; its FPS is the speed of its Python and of this processor, and the order of "
        "such rows is that of their Python; a larger batch_size or compile=reduce-overhead gives the GPU more to do"
    )
    assert "3 batches were timed" in facts["few samples"]
    assert not any("wall time" in text for text in facts.values())
    assert "Host" not in facts
    assert "Bound R50-FPN · torchvision [host-bound]" in [line[0] for line in row_conditions(comparison)]


def test_conditions_tell_each_row_its_own_remedy(write_run: Any, tmp_path: Path) -> None:
    rounds, slow, throttled = (with_few_samples(row(name, 20, samples=24)) for name in ("Rounds", "Slow", "Throttled"))
    for result in (rounds, slow, throttled):
        result.config["protocol"]["rounds"] = 3 if result is rounds else 1
    assert throttled.speed is not None
    throttled.speed.rounds[0].gpu = GpuReadings([], [], [], [], {"power cap": 3}, 6, False)
    comparison = load([write_run(tmp_path, [rounds, slow, throttled])], tmp_path)
    told = [text for name, text in conditions(comparison) if name == "few samples"]
    assert len(told) == 3
    for name, remedy in (("Rounds", "goes on"), ("Slow", "max_seconds"), ("Throttled", "let it cool")):
        [text] = [text for text in told if name in text]
        assert remedy in text
        assert sum(other in text for other in ("Rounds", "Slow", "Throttled")) == 1


def test_a_count_is_the_best_in_a_disturbed_row_too(write_run: Any, tmp_path: Path) -> None:
    rows = [with_busy(with_disturbed_batches(row("Disturbed", 5)), 95), with_busy(row("Free", 30), 93)]
    assert rows[0].busy is not None
    rows[0].busy.kernels = 10_000
    comparison = load([write_run(tmp_path, rows)], tmp_path)
    disturbed = number(comparison, "Disturbed")
    assert select(comparison, None, "kernels_per_image").satisfying[0] == disturbed
    assert (disturbed, "kernels_per_image") in comparison.best
    assert [fallen for fallen, _ in select(comparison, None, "gpu_ms").fallen] == [disturbed]


def test_conditions_count_recompilations(write_run: Any, tmp_path: Path) -> None:
    for times, said in ((0, "1 graph breaks"), (1, "1 graph breaks, 1 recompilation"), (3, ", 3 recompilations")):
        result = row("A", 20)
        result.compiled = CompileResult("default", ["backbone"], 12.5, 2, 1, times)
        text = dict(conditions(load([write_run(tmp_path, [result])], tmp_path)))["Compiling"]
        assert text.endswith(said)


def test_the_precision_that_was_missed_is_not_printed_as_reached(write_run: Any, tmp_path: Path) -> None:
    result = build_result("A", model_ms=[100.0] * 15 + [102.03] * 15)
    comparison = load([write_run(tmp_path, [result])], tmp_path)
    assert row_conditions(comparison)[0][ROW_COLUMNS.index("Median latency known")] == "within 1.005 % (not 1 %)"


def test_texts_show_a_mark_beside_the_name(comparison: Comparison, tmp_path: Path) -> None:
    write_markdown(comparison, tmp_path / "c.md")
    markdown = (tmp_path / "c.md").read_text()
    assert "| Bound *(host-bound)* |" in markdown
    assert "| Free |" in markdown
    write_latex(comparison, tmp_path / "c.tex")
    latex = (tmp_path / "c.tex").read_text()
    signs = dict.fromkeys(("host-bound", "disturbed", "few samples"), "")
    for name in signs:
        [signs[name]] = [sign for sign in "abc" if rf"\textsuperscript{{{sign}}}{name}" in latex]
    assert rf"Bound\textsuperscript{{{signs['host-bound']}}} &" in latex
    assert rf"Few\textsuperscript{{{signs['few samples']}}} &" in latex
    assert "Free &" in latex


def test_the_page_shows_a_mark_beside_the_name_and_in_the_filter(comparison: Comparison, tmp_path: Path) -> None:
    text = write_html(comparison, Pictures(), {}, tmp_path / "c.html").read_text()
    assert text.count('<b class="pill mark" title="the GPU computed 22 % of the time; its FPS') == 1
    assert 'fp32 ok host-bound"' in text
    assert "filter_proposals, in nonzero" in text
    assert "sm90_xmma_fprop_implicit_gemm" in text


def test_details_of_what_the_gpu_did() -> None:
    details = busy_details(with_busy(row("A", 20), 50))
    assert details is not None
    assert details["sentence"] == (
        "In 10 batches at the model boundary the GPU computed or copied for 15.0 of 30.0 ms a batch, 50 % of the time "
        "(41.2 ms under torch's profiler, which slows launching). It ran 1423 kernels and 31 copies a batch."
    )
    assert details["most"][1] == ("at::native::elementwise_kernel", "3.00", "612", "20 %")
    assert details["gaps"][-1] == ("0.40", "not known")
    assert busy_details(row("A", 20)) is None


@pytest.mark.parametrize(
    ("percent", "said"),
    [
        (110.0, "33.0 of 41.2 ms a batch under torch's profiler; a batch takes only 30.0 ms without it, so the share"),
        (79.6, "23.9 of 30.0 ms a batch, 79.6 % of the time"),
    ],
)
def test_details_say_no_impossible_share(percent: float, said: str) -> None:
    details = busy_details(with_busy(row("A", 20), percent))
    assert details is not None
    assert said in details["sentence"]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_terminal_shows_names_and_marks_whole_at_any_width(width: int, folder: Path) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(terminal_table([folder]))
    text = console.export_text()
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    for word in ("Bound", "[host-bound]", "[disturbed]", "Slow"):
        assert any(word in line for line in lines), text
    head = " ".join(lines[:2]).split()
    assert {"FPS", "model", "p50", "GPU", "busy", "Status"} <= set(head)
    assert ("left out, since the terminal is narrow" in text) == (width < 110)
    assert "host-bound: its FPS is the speed of its Python" in " ".join(text.split())
