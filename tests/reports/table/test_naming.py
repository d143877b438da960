"""Test that rows that differ in options alone look different everywhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import reports
from reports.table.comparison import load
from reports.text import latex, markdown

NAME = "Mask R-CNN R50-FPN · torchvision"


@pytest.fixture
def run(tmp_path, make_result, write_run):
    """Write a model, the same with another pooling, and with another pooling and mask head."""
    results = [make_result(mask_ap=ap) for ap in (0.40, 0.39, 0.38)]
    for result, options in zip(
        results, ({}, {"roi_pooling": "pool"}, {"roi_pooling": "pool", "head": {"agnostic": True}}), strict=True
    ):
        result.config["model"]["options"] = {"builder": "demo", **options}
    return write_run(tmp_path / "run", results)


def test_labels_name_the_options_that_differ(run, tmp_path):
    assert load([run], tmp_path).labels == [
        NAME,
        f"{NAME} · roi_pooling=pool",
        f"{NAME} · roi_pooling=pool, head.agnostic=true",
    ]


def test_every_table_names_them(run, tmp_path):
    comparison = load([run], tmp_path)
    markdown.write_markdown(comparison, tmp_path / "comparison.md")
    table = [line for line in (tmp_path / "comparison.md").read_text().splitlines() if line.startswith("| ")]
    models = [line.split(" | ")[0] for line in table[2:5]]
    assert models == [
        "| Mask R-CNN",
        r"| Mask R-CNN · roi\_pooling=pool",
        r"| Mask R-CNN · roi\_pooling=pool, head.agnostic=true",
    ]
    latex.write_latex(comparison, tmp_path / "comparison.tex")
    assert r"Mask R-CNN $\cdot$ roi\_pooling=pool & R50-FPN" in (tmp_path / "comparison.tex").read_text()
    output = io.StringIO()
    Console(file=output, width=120).print(reports.terminal_table(run))
    assert "roi_pooling=pool, head.agnostic=true" in " ".join(output.getvalue().split())
    assert max(len(line) for line in output.getvalue().splitlines()) <= 120
    assert " · roi_pooling=pool</small>" in reports.build([run], tmp_path / "report").read_text()


def test_options_of_different_models_are_not_named(tmp_path, make_result, write_run):
    results = [make_result("A"), make_result("B")]
    results[0].config["model"]["options"] = {"builder": "a"}
    assert load([write_run(tmp_path, results)], tmp_path).labels == [
        "A R50-FPN · torchvision",
        "B R50-FPN · torchvision",
    ]


def test_paths_are_named_by_their_file_and_long_values_are_cut(tmp_path, make_result, write_run):
    results = [make_result(mask_ap=0.4), make_result(mask_ap=0.3)]
    results[0].config["model"]["options"] = {"results": "/data/one.json"}
    results[1].config["model"]["options"] = {"results": "x" * 60}
    labels = load([write_run(tmp_path, results)], tmp_path).labels
    assert labels == [f"{NAME} · results=one.json", f"{NAME} · results={'x' * 39}…"]


def test_trainings_that_differ(tmp_path, make_result, write_run):
    results = [make_result(mask_ap=ap) for ap in (0.4, 0.3, 0.2)]
    for result, iterations in zip(results[:2], (200, 400), strict=True):
        result.config["finetune"] = {"iterations": iterations, "seed": 0}
    labels = load([write_run(tmp_path / "three", results)], tmp_path).labels
    assert sorted(labels) == sorted(
        [f"{NAME} · fine-tuned · iterations=200", f"{NAME} · fine-tuned · iterations=400", NAME]
    )
    labels = load([write_run(tmp_path / "two", results[:2])], tmp_path).labels
    assert labels == [f"{NAME} · iterations=200", f"{NAME} · iterations=400"]
