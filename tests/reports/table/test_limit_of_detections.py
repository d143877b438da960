"""An AP that counts more or fewer than COCO's 100 detections says so everywhere, and is compared with no other."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from literal_results import with_details, with_replicates
from rich.console import Console

import reports
from bench.gate.comparable import obstacles
from bench.schema.config import BenchConfig
from bench.schema.result import PASSES, Result, read_result
from reports.page.comparison_page import Pictures, write_html
from reports.table.checks import expected, published, warnings
from reports.table.comparison import Comparison, load, write_csv
from reports.table.selection import answer
from reports.text import latex, markdown

Make = Callable[[str, int], Result]


@pytest.fixture
def make(make_result: Any) -> Make:
    """Make the result of a family with a limit of detections."""

    def make(family: str, limit: int) -> Result:
        protocol = {**dataclasses.asdict(BenchConfig())["protocol"], "max_detections": limit}
        result: Result = with_details(make_result(family, protocol=protocol, dataset={"name": "coco_val2017"}))
        result = with_replicates(result, [0.36, 0.38, 0.37, 0.372], [0.29, 0.31, 0.30, 0.30])
        assert result.accuracy is not None
        result.accuracy.max_detections = limit
        return result

    return make


@pytest.fixture
def load_all(tmp_path: Path, write_run: Any) -> Callable[..., Comparison]:
    def load_all(*results: Result) -> Comparison:
        return load([write_run(tmp_path / "run", results)], tmp_path)

    return load_all


def forms(comparison: Comparison, folder: Path) -> dict[str, str]:
    """Give the comparison in every form."""
    markdown.write_markdown(comparison, folder / "a.md")
    latex.write_latex(comparison, folder / "a.tex")
    write_html(comparison, Pictures(), {}, folder / "a.html")
    output = io.StringIO()
    Console(file=output, width=160).print(reports.terminal_table(folder / "run"))
    texts = {name: (folder / f"a.{name}").read_text() for name in ("md", "tex", "html")}
    return {**texts, "terminal": output.getvalue()}


def test_titles_say_another_limit_that_all_rows_share(make: Make, load_all: Any, tmp_path: Path) -> None:
    texts = forms(load_all(make("A", 1000), make("B", 1000)), tmp_path)
    for title in ("Mask AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "Boundary AP"):
        assert f"| {title} (1000 detections) |" in texts["md"]
        assert f">{title} (1000 detections)" in texts["html"]
        assert f"| {title} |" not in texts["md"]
    assert "Boundary AP (1000 detections): row against column" in texts["md"]
    assert "Most detections" not in texts["md"]
    for head in ("AP", "AP$_{50}$", "AP$_S$", "AP$_\\mathrm{boundary}$"):
        assert f"& {head} (1000 detections) " in texts["tex"]
    assert texts["terminal"].count("1000 det.") == 2
    assert "Mask AP (1000 detections) by class" in texts["html"]
    for head in ("AP", "AR small", "Boundary AP75", "Overlap: keep"):
        assert f">{head} (1000 detections)</th>" in texts["html"]
    assert ">AR 10</th>" in texts["html"]
    for name in ("md", "tex"):
        assert "at most 1000 detections an image" in texts[name]


def test_labels_say_the_limit_where_rows_differ(make: Make, load_all: Any, tmp_path: Path) -> None:
    comparison = load_all(make("A", 1000), make("B", 100), make("C", 50))
    assert comparison.limit is None
    assert sorted(comparison.labels) == [
        "A R50-FPN · torchvision · at most 1000 detections",
        "B R50-FPN · torchvision",
        "C R50-FPN · torchvision · at most 50 detections",
    ]
    assert not comparison.best
    assert not comparison.groups
    texts = forms(comparison, tmp_path)
    assert "| Most detections |" in texts["md"]
    assert "Most detections &" in texts["tex"]
    assert texts["terminal"].splitlines()[0].rstrip().endswith("Most")
    assert "detections)" not in texts["md"]


def test_cocos_limit_needs_no_word(make: Make, load_all: Any, tmp_path: Path) -> None:
    comparison = load_all(make("A", 100), make("B", 100))
    assert comparison.labels == ["A R50-FPN · torchvision", "B R50-FPN · torchvision"]
    for text in forms(comparison, tmp_path).values():
        assert "100 detections)" not in text
        assert "100 det." not in text
        assert "Most detections |" not in text


def test_the_csv_has_the_limit_of_every_row(make: Make, load_all: Any, tmp_path: Path) -> None:
    write_csv(load_all(make("A", 1000), make("B", 100)), tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        assert sorted(row["max_detections"] for row in csv.DictReader(file)) == ["100", "1000"]


def test_a_gate_compares_no_two_limits(make: Make) -> None:
    why = obstacles(make("A", 100), make("A", 1000))
    assert why == dict.fromkeys((*PASSES, "model"), "most detections of an image 100 against 1000")
    assert obstacles(make("A", 1000), make("A", 1000)) == {}


def test_a_gate_compares_no_ap_that_was_counted_by_coco_whatever_the_protocol_said(make: Make) -> None:
    """Results from before the evaluator took the limit of the protocol."""
    before, after = make("A", 1000), make("A", 1000)
    assert before.accuracy is not None
    before.accuracy.max_detections = 100
    assert obstacles(before, after)["accuracy"] == "most detections of an image 1000, in AP 100 against 1000"


def test_a_result_without_the_field_was_counted_by_coco(make: Make, tmp_path: Path, write_run: Any) -> None:
    path = write_run(tmp_path, [make("A", 100)]) / "jobs" / "job0" / "result.json"
    text = path.read_text()
    assert text.count('"max_detections": 100') == 2
    head, _, tail = text.rpartition('"max_detections": 100')
    path.write_text(head.rstrip().removesuffix(",") + tail)
    accuracy = read_result(path).accuracy
    assert accuracy is not None
    assert accuracy.max_detections == 100


def test_published_and_expected_ap_are_cocos(make: Make, load_all: Any) -> None:
    results = [make("A", 100), make("B", 1000)]
    for result in results:
        result.config["model"]["expected"] = {"coco_val2017": {"mask_ap": 10.0}}
        result.published["mask_ap"] = 10.0
    one, other = sorted(load_all(*results).rows, key=lambda row: row.setting("model", "family"))
    assert published(one) is not None
    assert len(warnings(one)) == 2
    assert published(other) is None
    assert expected(other) == "10.0 ± 1 holds for 100 detections an image, so it is not compared"
    assert warnings(other) == []


def test_the_best_row_of_several_limits_is_told_with_a_warning(make: Make, load_all: Any) -> None:
    text, _ = answer(load_all(make("A", 1000), make("B", 100)), None, "mask_ap")
    assert "! these rows differ in most detections of an image, so they cannot be compared" in text
    text, _ = answer(load_all(make("A", 1000), make("B", 1000)), "mask_ap50 > 1", "mask_ap")
    assert "mask_ap (1000 detections) 37.2 points [35.7, 38.7], mask_ap50 (1000 detections) 55.8 points" in text
    assert "!" not in text


def test_notes_and_an_empty_ap_stand_beside_the_figures(make_result: Any, load_all: Any, tmp_path: Path) -> None:
    empty, other = make_result("A"), make_result("B")
    empty.accuracy.figures = dict.fromkeys(empty.accuracy.figures)
    empty.accuracy.figures_absent = "all 20 annotations are crowds (iscrowd: 1)"
    empty.accuracy.confidence_interval = None
    other.notes.append("10 of 20 annotations are crowds")
    empty.notes.append(f"mask AP is empty: {empty.accuracy.figures_absent}")  # said once
    texts = forms(load_all(empty, other), tmp_path)
    reason, note = "mask AP is empty: all 20 annotations are crowds (iscrowd: 1)", "10 of 20 annotations are crowds"
    for name, text in texts.items():
        jobs = 1 if name == "html" else 0  # the page has the notes of each job once more
        assert " ".join(text.split()).count(reason) == (0 if name == "tex" else 1 + jobs)
        assert note in " ".join(text.split())
    assert f"note, B R50-FPN · torchvision: {note}" in texts["terminal"]
    assert texts["html"].index(note) < texts["html"].index('id="conditions"')
    assert texts["html"].index(reason) < texts["html"].index('id="conditions"')
    assert texts["md"].index("## Notes") < texts["md"].index("## Conditions")
