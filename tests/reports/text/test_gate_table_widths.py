"""Tests that the table of a gate shows each figure whole in a terminal of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.schema.gate_report import AMBIGUOUS, SAME, WORSE, Finding, GateReport
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
