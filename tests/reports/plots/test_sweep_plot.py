"""Test which rows are points of one line, and that the line is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from reports.plots.sweep import latency_throughput, sweeps
from reports.table.comparison import Comparison, load


def sweep(folder: Path, make_result: Any, write_run: Any) -> Comparison:
    """Write one model at batch sizes 4, 1 and 2 in two precisions, another at one size, and one out of memory."""
    results = [
        make_result("A", model_ms=[ms] * 3, batch_size=size, precision=precision)
        for precision, factor in (("fp32", 1.0), ("fp16", 0.5))
        for size, ms in ((4, 60.0 * factor), (1, 20.0 * factor), (2, 35.0 * factor))
    ]
    results.append(make_result("A", batch_size=8, precision="fp16", status="out_of_memory", model_ms=None))
    results.append(make_result("B", batch_size=1))
    return load([write_run(folder / "run", results)], folder)


def test_rows_of_a_line(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    comparison = sweep(tmp_path, make_result, write_run)
    lines = [
        [(comparison.text(row, "precision"), comparison.cell(row, "batch_size")) for row in rows]
        for rows in sweeps(comparison)
    ]
    assert sorted(lines) == [[(p, size) for size in (1, 2, 4)] for p in ("fp16", "fp32")]


def test_each_input_size_is_a_line_of_its_own(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    results = [make_result("A", batch_size=size, input_size=edges) for edges in (None, "640x1066") for size in (1, 2)]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    lines = sweeps(comparison)
    assert sorted([comparison.text(row, "input_size") for row in rows] for rows in lines) == [
        ["", ""],
        ["640x1066", "640x1066"],
    ]


def test_the_lines_are_drawn(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    picture = latency_throughput(sweep(tmp_path, make_result, write_run), tmp_path)
    assert picture is not None
    with Image.open(picture.path) as image:
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10


def test_no_sweep_no_plot(tmp_path: Path, make_result: Any, write_run: Any) -> None:
    one = load([write_run(tmp_path / "run", [make_result("A"), make_result("B")])], tmp_path)
    assert latency_throughput(one, tmp_path) is None
