"""Test that a terminal of any width shows figures whole, and the models' names with their marks."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result, with_busy, with_disturbed_batches, with_few_samples
from rich.console import Console

from bench.schema.result import Result
from reports.text.terminal import terminal_table

WIDTHS = (20, 40, 60, 70, 80, 100, 120, 200)
FITS = 40
"""The least of these widths that the table fits into."""


def sweep() -> list[Result]:
    """Give a sweep of precision, compile and input size with GPU busy: 8 rows, one of them marked, and a failed one."""
    results = []
    for precision in ("fp32", "fp16"):
        for compiled in ("none", "reduce-overhead"):
            for size in ("800x1333", "480x640"):
                settings: Any = {"precision": precision, "compile": compiled, "input_size": size}
                result = build_result(model_ms=[3.5 + len(results)] * 40, **settings)
                results.append(with_busy(result, 82 if len(results) else 22))
    results[1] = with_few_samples(with_disturbed_batches(results[1]))
    results[1].config["protocol"]["min_samples"] = 50
    return [*results, build_result("Failed", status="crashed", reason="killed by SIGKILL")]


def short() -> list[Result]:
    return [build_result(name, model_ms=[ms] * 40) for name, ms in (("A", 20.0), ("B", 30.0))]


def without_accuracy() -> list[Result]:
    """Give rows in which only memory was measured."""
    results = [build_result(name, model_ms=None) for name in ("A", "B")]
    for result in results:
        result.accuracy = None
    return results


def printed(folder: Path, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(terminal_table([folder]), crop=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def table_of(lines: Sequence[str]) -> list[str]:
    below = ("left out", "disturbed:", "few samples:", "host-bound:")
    return list(lines[: next(number for number, line in enumerate(lines) if line.startswith(below))])


def name_width(table: Sequence[str]) -> int:
    """Give where the second column begins, less the gap."""
    longest = max(map(len, table))
    blank = [all(line.ljust(longest)[place] == " " for line in table) for place in range(longest)]
    return next(place for place in range(len("Model"), longest) if blank[place] and blank[place + 1])


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sweep_can_be_read_at_any_width(width: int, write_run: Any, tmp_path: Path) -> None:
    lines = printed(write_run(tmp_path, sweep()), width)
    text = "\n".join(lines)
    table = table_of(lines)
    figures = re.findall(r"\d+\.\d\d\b", "\n".join(table))
    for fps in ("285.71", "222.22", "181.82", "153.85", "133.33", "117.65", "105.26", "95.24"):
        assert fps in figures, text
    if width >= FITS:
        assert max(map(len, lines)) <= width
    assert name_width(table) >= 14, text
    for word in ("Mask", "R-CNN", "R50-FPN", "torchvision", "[host-bound", "disturbed,", "samples]", "Failed"):
        assert any(word in line for line in table), text
    told = " ".join(text.split())
    left_out = re.search(r"left out, since the terminal is narrow: (.*?) disturbed:", told)
    heads = " ".join(table[:2])
    for head, title in {"GPU": "GPU busy", "p95": "p95", "RSS": "Host RSS", "Prec.": "Precision"}.items():
        assert (head in heads) != (title in (left_out[1] if left_out else "")), text


@pytest.mark.parametrize("width", [40, 60, 70, 80, 100, 120, 200])
@pytest.mark.parametrize("results", [short(), without_accuracy()], ids=["short names", "memory alone"])
def test_other_tables_fit(results: list[Result], width: int, write_run: Any, tmp_path: Path) -> None:
    lines = printed(write_run(tmp_path, results), width)
    assert max(map(len, lines)) <= width
    assert re.match(r"A R50-FPN.*", lines[2])
    assert "812" in lines[2] or "50.00" in lines[2]


@pytest.mark.parametrize("disturbed", [True, False])
def test_the_legend_says_that_marked_rows_have_no_star(disturbed: bool, write_run: Any, tmp_path: Path) -> None:
    results = [build_result(name, model_ms=[ms] * 40) for name, ms in (("A", 10), ("B", 20), ("C", 30))]
    if disturbed:
        with_disturbed_batches(results[0])
    text = "\n".join(printed(write_run(tmp_path, results), 200))
    assert ("50.00 ± 0.00*" if disturbed else "100.00 ± 0.00*") in text
    said = "* best among comparable rows (of speed, busy and energy without rows that are marked disturbed)"
    assert (said in text) == disturbed
