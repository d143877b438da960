"""Test how measured mask AP is compared with the published and the expected one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from literal_results import build_result, build_training
from rich.console import Console

import reports
from bench.schema.row import Row
from reports.table.checks import expected, published, signed, warnings
from reports.table.comparison import load
from reports.text import latex, markdown


def _result(mask_ap, name="coco_val2017", **changes):
    result = build_result(mask_ap=mask_ap, published=37.2, dataset={"name": name})
    result.config["model"]["expected"] = changes.get("expected", {})
    return result


def _job(result) -> Row:
    return Row(Path("result.json"), result, "result.json")


@pytest.mark.parametrize(
    ("measured", "holds", "difference"),
    [(0.374, True, 0.2), (0.3741, False, 0.21), (0.370, True, -0.2), (0.3699, False, -0.21)],
)
def test_the_mark_is_beyond_0_2_points(measured, holds, difference):
    check = published(_job(_result(measured)))
    assert check.holds is holds
    assert check.difference == pytest.approx(difference)


def test_what_is_not_published_is_not_compared():
    assert published(_job(_result(0.30, name="coco_minitrain"))) is None
    assert published(_job(build_result(mask_ap=0.30, published=None, dataset={"name": "coco_val2017"}))) is None
    part = _result(0.30)
    part.accuracy.images_evaluated = 50
    assert published(_job(part)) is None
    trained = _result(0.30)
    trained.finetune = build_training()
    assert published(_job(trained)) is None
    own = _result(0.30)
    own.model.weights = "/home/me/own.pth"
    assert published(_job(own)) is None
    own.model.weights_sha256, own.config["model"]["zoo"]["sha256"] = "bf2d0c1e99", "bf2d0c1e"
    assert published(_job(own)).difference == pytest.approx(-7.2)


def test_the_tables_show_the_difference_and_the_mark(tmp_path, write_run):
    comparison = load([write_run(tmp_path / "run", [_result(0.368), _result(0.371)])], tmp_path)
    markdown.write_markdown(comparison, tmp_path / "comparison.md")
    text = (tmp_path / "comparison.md").read_text()
    assert "| 37.2 (-0.4) (!) |" in text
    assert "| 37.2 (-0.1) |" in text
    assert "measured minus published, with (!) where they differ by more than 0.2 points" in text
    assert "measured 36.8 - published 37.2 = -0.4: differs by more than 0.2 points" in text
    latex.write_latex(comparison, tmp_path / "comparison.tex")
    text = (tmp_path / "comparison.tex").read_text()
    assert r"& 37.2 {\scriptsize (-0.4$^\dagger$)} &" in text
    assert r"& 37.2 {\scriptsize (-0.1)} &" in text
    assert r"$^\dagger$ where that exceeds 0.2 points" in text
    output = io.StringIO()
    Console(file=output, width=200).print(reports.terminal_table(tmp_path / "run"))
    (line,) = [line for line in output.getvalue().splitlines() if line.startswith("! ")]
    assert "measured 36.8 - published 37.2 = -0.4" in line


def test_expected_mask_ap():
    wanted = {"coco_val2017": {"mask_ap": 36.0, "tolerance": 0.5}, "shapes": {"mask_ap": 60.0, "tolerance": 1.0}}
    assert expected(_job(_result(0.365, expected=wanted))).text == "36.0 ± 0.5, measured 36.5 (+0.5): holds"
    missed = _job(_result(0.366, expected=wanted))
    assert expected(missed).text == "36.0 ± 0.5, measured 36.6 (+0.6): DOES NOT HOLD"
    assert any(line.startswith("expected mask AP 36.0") for line in warnings(missed))
    assert expected(_job(_result(0.365, name="other", expected=wanted))) is None
    assert expected(_job(_result(0.365))) is None


def test_expected_mask_ap_of_another_measurement_is_not_checked():
    wanted = {"shapes": {"mask_ap": 60.0, "tolerance": 1.0}}
    trained = _result(0.3, name="shapes", expected=wanted)
    trained.finetune = build_training()
    assert "before this training" in expected(_job(trained))
    part = _result(0.3, name="shapes", expected=wanted)
    part.accuracy.images_evaluated = 5
    assert "whole dataset" in expected(_job(part))
    fewer = _result(0.3, name="shapes", expected=wanted)
    fewer.config["dataset"]["shapes"] = {"split": "val", "count": 8, "seed": 0, "cache": None}
    assert "whole dataset" in expected(_job(fewer))
    fewer.config["dataset"]["shapes"]["count"] = 50
    assert not expected(_job(fewer)).holds
    smaller = _result(0.3, name="shapes", expected=wanted)
    smaller.config["input_size"] = "192x192"
    assert "own input size" in expected(_job(smaller))
    assert warnings(_job(smaller)) == []


def test_signs():
    assert [signed(value) for value in (0.26, -0.26, 0.04, -0.04)] == ["+0.3", "-0.3", "+0.0", "+0.0"]
