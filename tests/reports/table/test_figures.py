"""Compare figures and intervals with numbers by hand; test empty APs of random weights, and a new figure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result, with_details
from rich.console import Console

import reports
from bench.evaluation.intervals import interval
from bench.schema.metrics import FIGURES, Figure
from reports.table.comparison import load, write_csv
from reports.text import latex, markdown
from reports.text.column_table import column_table


@pytest.mark.parametrize("name", ["mask_ap", "mask_ap50", "boundary_ap"])
def test_an_ap_of_random_weights_is_empty(name: str) -> None:
    trained, untrained = (with_details(build_result(weights=weights)) for weights in ("zoo", "random"))
    assert FIGURES[name].figure(trained) == pytest.approx({"mask_ap": 37.2, "mask_ap50": 55.8, "boundary_ap": 30}[name])
    assert FIGURES[name].figure(untrained) is None
    assert interval(FIGURES[name], untrained) is None


def test_intervals_by_hand() -> None:
    """The interval of a median of six samples is their whole range; that of AP is the result's, in points."""
    six = build_result(model_ms=[18.0, 19.0, 20.0, 21.0, 22.0, 23.0])
    assert interval(FIGURES["latency_ms_p50"], six) == (18.0, 23.0)
    assert interval(FIGURES["mask_ap"], six) == (pytest.approx(35.7), pytest.approx(38.7))
    assert interval(FIGURES["host_rss_mb"], six) is None


def test_scaled_figures_by_hand() -> None:
    result = build_result()
    values = {name: figure.figure(result) for name, figure in FIGURES.items()}
    # (10 + 20 + 6) / 3 instances; 1.64 GB need a GPU of 4; figures of a row alone are not the result's.
    assert (values["detections_per_image"], values["fits_in_gb"], values["gflops"]) == (12.0, 4, pytest.approx(134.4))
    assert values["parameters_m"] == pytest.approx(44.401393)
    assert (values["result"], values["fps_model_low"], values["energy_j_per_image"]) == (None, None, None)


def test_a_new_figure_is_in_every_table(
    tmp_path: Path, make_result: Any, write_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = Figure(
        "graphs",
        "Graphs",
        "graphs that the network was compiled into",
        lambda result: result.compiled.graphs if result.compiled else 7,
        "speed",
        better="low",
        decimals=0,
        shown=("table", "markdown", "latex", "terminal"),
        short="Gr.",
        latex="$G$",
    )
    monkeypatch.setitem(FIGURES, "graphs", figure)
    run = write_run(tmp_path / "run", [make_result()])
    comparison = load([run], tmp_path)
    write_csv(comparison, tmp_path / "a.csv")
    head, line = (tmp_path / "a.csv").read_text().splitlines()
    assert (head.split(",")[-1], line.split(",")[-1]) == ("graphs", "7")
    assert "| `graphs` |  | graphs that the network was compiled into |" in column_table()
    markdown.write_markdown(comparison, tmp_path / "a.md")
    assert "| Graphs |" in (tmp_path / "a.md").read_text()
    latex.write_latex(comparison, tmp_path / "a.tex")
    assert r"& $G$ \\" in (tmp_path / "a.tex").read_text()
    output = io.StringIO()
    Console(file=output, width=120).print(reports.terminal_table(run))
    assert "Gr." in output.getvalue()
