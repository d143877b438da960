"""Rows of one model that were measured with other weights, files, code or data are told, and how to measure anew."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result
from rich.console import Console

from bench.schema.result import Result
from reports.table.comparison import load
from reports.text.conditions import conditions
from reports.text.contents import other_contents
from reports.text.terminal import terminal_table

WriteRun = Callable[..., Path]
FP32, BF16, TF32 = (f"Mask R-CNN R50-FPN · torchvision · {precision}" for precision in ("fp32", "bf16", "tf32"))
AGAIN = "the same commands again, each with its out=, measure the older rows anew"
COMPARED = f"and are compared like two models; {AGAIN}"


def row(precision: str, minute: int, contents: dict[str, str] | None = None, **fields: Any) -> Result:
    sources = fields.pop("sources", {})
    result = build_result(weights="/w/best.pt", precision=precision, **fields)
    result.started = f"2026-11-22T13:{minute:02}:00+00:00"
    result.contents, result.sources = contents or {}, sources
    return result


@pytest.fixture
def told(write_run: WriteRun, tmp_path: Path) -> Callable[..., dict[str, str]]:
    def of(*results: Result) -> dict[str, str]:
        comparison = load([write_run(tmp_path, results)], tmp_path)
        found = other_contents(comparison)
        assert set(found) <= set(conditions(comparison))
        return dict(found)

    return of


def test_rows_of_replaced_weights(told: Any) -> None:
    """The file was replaced after the row that was measured first, which is not the first in the table."""
    before, after = {"weights": "1" * 64}, {"weights": "abcdef0123" * 6}
    assert told(row("tf32", 9, after), row("bf16", 1, before), row("fp32", 5, after)) == {
        "Other weights": f"best.pt 11111111 [{BF16}], then abcdef01 [{FP32}, {TF32}]; these rows of one model "
        f"have other weights under one name, {COMPARED}"
    }


def test_rows_of_edited_code(told: Any) -> None:
    """A file that only one row imported is no difference."""
    before, after = {"mine.py": "1" * 16, "same.py": "5" * 16}, {"mine.py": "2" * 16, "same.py": "5" * 16}
    assert told(row("fp32", 1, sources=before), row("bf16", 2, sources=after | {"late.py": "3" * 16})) == {
        "Other code": f"mine.py 11111111 [{FP32}], then 22222222 [{BF16}]; these rows of one model ran other code, "
        f"{COMPARED}"
    }


def test_of_many_edited_files_three_are_named(told: Any) -> None:
    before, after = ({f"{name}.py": digit * 16 for name in "abcde"} for digit in "12")
    text = told(row("fp32", 1, sources=before), row("bf16", 2, sources=after))["Other code"]
    assert text.count(".py") == 3
    assert "; and 2 more; these rows" in text


def test_rows_of_a_replaced_file_of_an_option(told: Any) -> None:
    """Declared by the class, or only named by an option, as a list may do."""
    results = []
    for minute, precision in enumerate(("fp32", "bf16")):
        contents = {key: str(minute) * 64 for key in ("model.options.results", "file of model.options.parts.1")}
        results.append(row(precision, minute, contents))
        results[-1].config["model"]["options"] = {"results": "/r/r.json", "parts": ["no", "/p/part.txt"]}
    assert told(*results) == {
        "Other files": f"r.json 00000000 [{FP32}], then 11111111 [{BF16}]; part.txt 00000000 [{FP32}], then 11111111 "
        f"[{BF16}]; these rows of one model read other contents of one file, {COMPARED}"
    }


def test_rows_of_other_data_under_one_name(told: Any) -> None:
    results = [row("fp32", 1, {"dataset": "1" * 64}), row("bf16", 2, {"dataset": "2" * 64})]
    for result, folder in zip(results, ("clean", "fog"), strict=True):
        result.config["dataset"]["images"] = f"/home/someone/{folder}"
    text = told(*results)["Other data"]
    assert text.startswith(f"coco 11111111 in clean [{FP32}], then 22222222 in fog [{BF16}]; annotations or images ")
    assert text.endswith(f"{AGAIN}, or give each set a name of its own with dataset.name=NAME")


def test_what_rows_may_differ_in_is_not_told(told: Any) -> None:
    """Two models, two checkpoints in two folders, the same file for two precisions, a row without any figure."""
    mine, same = {"weights": "1" * 64, "dataset": "5" * 64}, {"weights": "2" * 64, "dataset": "5" * 64}
    other = row("fp32", 2, same)
    other.config["model"]["weights"] = "/other/best.pt"
    skipped = row("fp32", 3, {"weights": "3" * 64}, status="skipped", reason="no", sources={"mine.py": "3" * 16})
    results = [row("fp32", 1, mine, sources={"mine.py": "1" * 16}), row("bf16", 2, mine), other, skipped]
    assert told(*results, row("fp32", 1, same, family="SOLO", sources={"mine.py": "2" * 16})) == {}


def test_zoo_models_of_one_option_have_weights_of_their_own(told: Any) -> None:
    results = [row("fp32", minute, {"weights": str(minute) * 64}) for minute in (1, 2)]
    for number, result in enumerate(results):
        result.config["model"].update(weights="zoo", config=f"solo_{number}")
    assert told(*results) == {}


def test_the_terminal_says_it_too(write_run: WriteRun, tmp_path: Path) -> None:
    run = write_run(tmp_path, [row("fp32", 1, {"weights": "1" * 64}), row("bf16", 2, {"weights": "2" * 64})])
    console = Console(file=io.StringIO(), width=400)
    console.print(terminal_table([run]))
    assert f"! Other weights: best.pt 11111111 [{FP32}], then 22222222 [{BF16}]" in console.file.getvalue()  # type: ignore[attr-defined]
