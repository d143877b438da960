"""Test that a new setting shows in every table, label, export and comparison without a change to them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import reports
from bench.history.store import History
from bench.schema.facts import config
from bench.schema.result import Origin
from bench.schema.row import Row
from bench.schema.settings import REPORT, SERIES, SETTINGS, Setting
from bench.schema.words import said
from reports.ci.action_benchmark import CHARTED, action_benchmark
from reports.ci.pytest_benchmark import benchmarks
from reports.page.series import read_series
from reports.table.comparison import Comparison, comparison_key, load
from reports.table.matrix import pair_columns
from reports.text import again, latex, markdown
from reports.text.column_table import column_table
from reports.text.conditions import conditions

NAME = "Mask R-CNN R50-FPN \u00b7 torchvision"


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(
        "made_up",
        "Made up",
        "made-up thing",
        config("made_up"),
        held=(REPORT, SERIES),
        label=said("made {}"),
        line=said("made up {}"),
        definition="what is made up",
        short="Made",
    )
    monkeypatch.setitem(SETTINGS, "made_up", setting)


@pytest.fixture
def run(tmp_path: Path, make_result: Any, write_run: Any) -> Path:
    """Write the same model twice, the second time better in everything."""
    ms = ([20.0, 21.0, 22.0], [10.0, 11.0, 12.0])
    results = [make_result(made_up=text, model_ms=of) for text, of in zip(("one", "two"), ms, strict=True)]
    return write_run(tmp_path / "run", results)


@pytest.fixture
def comparison(run: Path, tmp_path: Path) -> Comparison:
    return load([run], tmp_path)


def test_labels_and_comparability(comparison: Comparison) -> None:
    assert sorted(comparison.labels) == [f"{NAME} \u00b7 made one", f"{NAME} \u00b7 made two"]
    assert len({comparison_key(row) for row in comparison.rows}) == 2
    assert not comparison.best
    assert "detections, most detections of an image" in comparison.best_words()
    assert comparison.best_words().endswith("GPU and made-up thing")


def test_conditions(comparison: Comparison) -> None:
    [setting] = [text for name, text in conditions(comparison) if name == "Setting"]
    assert f"device cuda:0, fp32, batch size 1, made up one [{NAME} \u00b7 made one]" in setting


def test_tables(comparison: Comparison, run: Path, tmp_path: Path) -> None:
    assert list(comparison.frame["made_up"].sort_values()) == ["one", "two"]
    assert "| `made_up` |  | what is made up |" in column_table()
    assert "made_up" in pair_columns()
    markdown.write_markdown(comparison, tmp_path / "a.md")
    text = (tmp_path / "a.md").read_text()
    assert "| Input | Made up | Status |" in text or "| Batch | Made up | Status |" in text
    latex.write_latex(comparison, tmp_path / "a.tex")
    assert "Model & Backbone & Library & Made up &" in (tmp_path / "a.tex").read_text()
    output = io.StringIO()
    Console(file=output, width=120).print(reports.terminal_table(run))
    lines = output.getvalue().splitlines()
    assert lines[1].rstrip().endswith("Made")
    assert [line.split()[-1] for line in lines[2:4]] in (["one", "two"], ["two", "one"])


def test_exports(comparison: Comparison) -> None:
    rows = [Row(Path(f"job{n}/result.json"), row.result) for n, row in enumerate(comparison.rows)]
    entries = benchmarks(rows)
    assert {entry["params"]["made_up"] for entry in entries} == {"one", "two"}
    assert {entry["params"]["compile"] for entry in entries} == {"none"}
    assert {entry["name"] for entry in entries if entry["group"] == "model"} == {
        "mask r-cnn_torchvision \u00b7 made one[model]",
        "mask r-cnn_torchvision \u00b7 made two[model]",
    }
    charted = action_benchmark(rows, CHARTED)
    assert {entry["extra"].splitlines()[0] for entry in charted} == {
        "coco, cuda:0, fp32, batch 1, made one",
        "coco, cuda:0, fp32, batch 1, made two",
    }


def test_the_same_study_again(comparison: Comparison) -> None:
    assert sorted(row.label for row in again.repeats(comparison, comparison).rows) == sorted(comparison.labels)
    assert "made two" in again.answer(again.repeats(comparison, comparison))


def test_series(run: Path, tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.append(run, Origin("0" * 40, "main"))
    series = read_series(history, history.runs())
    assert [one.label for one in series] == [f"{NAME} \u00b7 made one", f"{NAME} \u00b7 made two"]
    assert series[1].setting.startswith("coco, cuda:0, fp32, batch size 1, made up two, NVIDIA H200")
