"""Tests that the table of a gate shows each figure whole in a terminal of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.schema.gate_report import AMBIGUOUS, SAME, WORSE, Finding, GateReport
from reports.ci.job_summary import job_summary
from reports.text.gate_table import gate_rows, gate_table

LONG = "Mask R-CNN R50-FPN · torchvision · fp16 · reduce-overhead"


def report() -> GateReport:
    findings = [
        Finding(LONG, "a", "fps_model", WORSE, "s", "", 101.25, 95.4, True, -0.0579, -0.0634, -0.0512, threshold="-3%"),
        Finding(LONG, "b", "mask_ap", AMBIGUOUS, "s", "points", 37.16, 36.9, False, -0.26, -0.9, 0.31, threshold="1"),
        Finding("B", "c", "peak_allocated_mb", SAME, "s", "MB", 1234.5, 1234.6, True, 0.0001, threshold="5%"),
    ]
    return GateReport("main", "this", passed=False, outcome="one is worse", findings=findings)


def lines_at(width: int) -> list[str]:
    told = io.StringIO()
    Console(file=told, width=width, color_system=None).print(gate_table(report()))
    return told.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 90, 100, 120, 160])
def test_figures_stay_whole(width: int) -> None:
    lines = lines_at(width)
    for _, [_, _, *figures] in gate_rows(report()):
        assert len(figures) == 5
        for figure in filter(None, figures):
            assert any(figure in line for line in lines), (figure, lines)
    assert all(len(line.rstrip()) <= width for line in lines)


@pytest.mark.parametrize("width", [120, 160])
def test_the_figures_of_a_finding_stand_in_one_line_where_there_is_room(width: int) -> None:
    assert any("101.2" in line and "[-6.34, -5.12]" in line and "-3%" in line for line in lines_at(width))


def lines_of(finding: Finding) -> str:
    told = io.StringIO()
    whole = GateReport("main", "this", passed=True, outcome="none is worse", findings=[finding])
    Console(file=told, width=160, color_system=None).print(gate_table(whole))
    return told.getvalue() + job_summary(whole)


def test_medians_that_contradict_the_change_of_their_row_are_told_apart() -> None:
    """The rounds of both sides differ more than the sides: 15.91 and 15.84, while the pairs say +1.26 %."""
    contrary = Finding("A", "a", "fps_model", SAME, "s", "images/s", 15.91, 15.84, True, 0.0126, 0.001, 0.02)
    told = lines_of(contrary)
    assert told.count("(15.91)") == 2
    assert told.count("(15.84)") == 2
    assert "medians of the rounds of each side" in told
    assert "in brackets: medians that point the other way than the change" in told


@pytest.mark.parametrize(
    ("finding", "medians"),
    [
        (Finding("A", "a", "fps_model", SAME, "s", "images/s", 15.84, 15.91, True, 0.0126, 0.001, 0.02), True),
        (Finding("A", "a", "mask_ap", SAME, "s", "points", 40.2, 40.1, False, -0.1, -0.3, 0.1), False),
    ],
)
def test_figures_that_agree_have_no_brackets(finding: Finding, medians: bool) -> None:
    told = lines_of(finding)
    assert "(1" not in told
    assert "(4" not in told
    assert ("medians of the rounds" in told) == medians
    assert "in brackets: medians" not in told
