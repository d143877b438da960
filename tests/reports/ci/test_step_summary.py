"""Test that commands add the answers of a report to the summary that GitHub shows of a job."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from literal_findings import gate_report
from markdown_it import MarkdownIt
from rich.console import Console

from bench.cli.outputs import report
from bench.schema.result import Result
from reports.__main__ import main


@pytest.fixture
def run(tmp_path: Path, make_result: Callable[..., Result], write_run: Callable[..., Path]) -> Path:
    slow = make_result("Slow|er", mask_ap=0.4, model_ms=[40.0])
    fast = make_result("Fast", mask_ap=0.3, model_ms=[20.0])
    return write_run(tmp_path / "run", [slow, fast, make_result("Lost", status="crashed", reason="x")])


def test_the_command_of_a_report_adds_its_answers(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = tmp_path / "step"
    step.write_text("of the step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    assert main([str(run)]) == 0
    assert capsys.readouterr().err == ""
    first, head, *lines = [line for line in step.read_text(encoding="utf-8").splitlines() if line]
    assert (first, head) == ("of the step", "## Instance segmentation, compared")
    assert [line.split(":**")[0] for line in lines[-4:]] == [
        f"- **{title}" for title in ("Most accurate", "Fastest", "Trade-off", "Beware")
    ]
    accurate, fastest, _, beware = lines[-4:]
    assert "Slow\\|er" in accurate
    assert "Fast" in fastest
    assert "failed" in beware
    assert MarkdownIt().render(step.read_text(encoding="utf-8")).count("<li>") == 4


def test_a_measuring_command_adds_the_verdict_and_then_its_answers(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step"))
    report(run, run, Console(file=io.StringIO()))
    answers = (tmp_path / "step").read_text(encoding="utf-8")
    assert answers.startswith("## Instance segmentation, compared\n\n")
    report(run, run, Console(file=io.StringIO()), gate_report())
    both = (tmp_path / "step").read_text(encoding="utf-8")
    assert both.startswith(f"{answers}## ❌ ")
    assert both.endswith(answers)


@pytest.mark.parametrize("name", ["no/such/folder/step", "."])
def test_a_summary_that_cannot_be_written_costs_one_line(
    name: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / name))
    assert main([str(run)]) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: left out of the job's summary: $GITHUB_STEP_SUMMARY: ")


def test_a_full_summary_stays_as_it_is(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub drops a summary whole that is longer than 1 MiB."""
    step = tmp_path / "step"
    step.write_text("x" * (2**20 - 10))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    assert main([str(run)]) == 0
    assert step.stat().st_size == 2**20 - 10
