"""Test accuracy in detail: tables word for word, plots where there is data, and the training before."""

from __future__ import annotations

import numpy as np
import pytest
from literal_results import build_result, build_training, with_details
from PIL import Image

from reports.charts.accuracy import ACCURACY
from reports.plots.training import draw_training, trained_rows
from reports.table.accuracy import COCO_HEADINGS, OTHER_HEADINGS, figures_table, per_class_table
from reports.table.comparison import load
from reports.text.training import training_facts


@pytest.fixture
def comparison(tmp_path, write_run):
    """Give a comparison in which A has all figures, B only COCO's, and C random weights."""
    results = [
        with_details(build_result("A", mask_ap=0.400)),
        build_result("B", mask_ap=0.300),
        with_details(build_result("C", weights="random", mask_ap=0.01)),
    ]
    (tmp_path / "plots").mkdir()
    return load([write_run(tmp_path / "run", results)], tmp_path)


def test_figures_in_points(comparison):
    rows = [row for row in range(3) if comparison.cell(row, "model") in ("A", "B")]
    heads, (first, second) = figures_table(comparison, rows, COCO_HEADINGS)
    assert len(heads) == 12
    assert dict(zip([head.title for head in heads], first, strict=True))["AR 100"] == "50.0"
    assert second[:2] == ["30.0", "45.0"]
    heads, (first, second) = figures_table(comparison, rows, OTHER_HEADINGS)
    assert dict(zip([head.title for head in heads], first, strict=True)) == {
        **{"Boundary AP": "30.0", "Boundary AP50": "55.0", "Boundary AP75": "28.0"},
        **{"Boundary AP small": "15.0", "Boundary AP medium": "32.0", "Boundary AP large": "40.0"},
        **{"Overlap: keep": "40.0", "Overlap: highest score": "39.3", "Overlap: difference": "-0.70"},
        "Calibration error": "12.5",
    }
    assert set(second) == {""}


def test_classes_hardest_first(comparison):
    rows = [row for row in range(3) if comparison.cell(row, "model") in ("A", "B")]
    assert per_class_table(comparison, rows) == [
        ("car", ["36.0", "27.0"], 0),
        ("person", ["44.0", "33.0"], 0),
        ("hair drier", ["", ""], None),
    ]


def test_plots_of_what_was_measured(comparison, tmp_path, write_run):
    pictures = [picture for draw in ACCURACY.values() for picture in draw(comparison, tmp_path / "plots")]
    assert [picture.path.name for picture in pictures] == ["errors.png", "calibration.png"]
    for picture in pictures:
        assert np.asarray(Image.open(picture.path).convert("L")).std() > 5
        assert picture.for_papers == [f"{picture.path.stem}{end}" for end in (".pdf", ".svg", ".png")]
    plain = load([write_run(tmp_path / "plain", [build_result()])], tmp_path)
    assert [draw(plain, tmp_path / "plots") for draw in ACCURACY.values()] == [[], []]


def test_training_curves_and_facts(tmp_path, write_run):
    results = [build_result("A"), build_result("B")]
    results[0].finetune = build_training()
    comparison = load([write_run(tmp_path / "run", results)], tmp_path)
    (row,) = trained_rows(comparison)
    assert comparison.cell(row, "model") == "A"
    picture = draw_training(comparison, row, tmp_path / "training_1.png")
    assert np.asarray(Image.open(picture.path).convert("L")).std() > 5
    assert training_facts(comparison.rows[row].result.finetune) == [
        ("Start", "published weights of the library"),
        ("Begun anew", "2 parameters that depend on the classes: head.weight, head.bias"),
        ("Trained", "80 iterations, 2.5 epochs of 256 images"),
        ("Time", "25 min"),
        ("Measured", "the weights of iteration 40, best.safetensors"),
        ("SHA-256 of annotations", "c0ffee"),
    ]


def test_a_training_that_logged_once_has_no_curve(tmp_path, write_run):
    result = build_result()
    result.finetune = build_training()
    result.finetune.curve = result.finetune.curve[:1]
    assert trained_rows(load([write_run(tmp_path / "run", [result])], tmp_path)) == []


def test_weights_that_were_random_before_training_have_an_ap(tmp_path, write_run):
    result = build_result(weights="random", mask_ap=0.5)
    result.finetune = build_training()
    assert load([write_run(tmp_path, [result])], tmp_path).cell(0, "mask_ap") == pytest.approx(50.0)
