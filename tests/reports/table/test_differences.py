"""Test paired differences on replicates by hand: which rows are marked and compared, and what the matrix says."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from literal_results import build_result, with_replicates

from reports.table.comparison import load
from reports.table.differences import Difference
from reports.table.matrix import difference_text, p_text, write_differences
from reports.text import latex, markdown

DRAWS = np.linspace(-0.03, 0.03, 201)
"""The change of every model's AP from draw to draw: hard images are hard for all."""

WOBBLE = np.where(np.arange(201) % 2, 0.01, -0.01)
"""The change of one model's AP, alternately 0.01 up and down."""


@pytest.fixture
def comparison(tmp_path, write_run):
    """B is 0.005 behind A, apart from its own change; C is behind A by 0.020 in every draw."""
    results = [
        with_replicates(build_result("A", mask_ap=0.400), 0.400 + DRAWS, 0.300 + DRAWS),
        with_replicates(build_result("B", mask_ap=0.395), 0.395 + DRAWS + WOBBLE, 0.310 + DRAWS),
        with_replicates(build_result("C", mask_ap=0.380), 0.380 + DRAWS, 0.300 + DRAWS + WOBBLE),
    ]
    return load([write_run(tmp_path / "run", results)], tmp_path)


def test_what_cannot_be_told_from_the_best_is_marked_like_it(comparison):
    rows = {comparison.cell(row, "model"): row for row in range(3)}
    marked = {row for row, column in comparison.best if column == "mask_ap"}
    assert marked == {rows["A"], rows["B"]}
    assert set(comparison.tied) == {rows["B"]}
    # The intervals of A and C overlap widely; their difference is never 0.
    (a_low, _), (_, c_high) = (
        [comparison.cell(rows[name], f"mask_ap_{end}") for end in ("low", "high")] for name in "AC"
    )
    assert c_high > a_low


def test_p_by_hand_and_holm(comparison):
    (group,) = comparison.groups
    a, b, c = group.rows
    # A - B is 0.005 - wobble, half a deviation: P(|Z| > 0.5) = 0.617, the largest p of three, so Holm leaves it.
    tie = group.difference("mask_ap", a, b)
    assert tie.p == pytest.approx(0.617, abs=2e-3)
    assert tie.p_holm == tie.p
    assert not tie.significant
    # B - C is 0.015 + wobble: P(|Z| > 1.5) = 0.1336, the second of three.
    assert group.difference("mask_ap", b, c).p == pytest.approx(0.1336, abs=2e-3)
    assert group.difference("mask_ap", b, c).p_holm == pytest.approx(2 * 0.1336, abs=4e-3)
    # A - C is 0.02 in every draw.
    plain = group.difference("mask_ap", a, c)
    assert plain.p_holm == pytest.approx(0.0, abs=1e-12)
    assert (plain.low, plain.high) == (pytest.approx(2.0), pytest.approx(2.0))
    assert group.difference("mask_ap", c, a).difference == pytest.approx(-2.0)


def test_the_matrix_word_for_word(comparison, tmp_path):
    markdown.write_markdown(comparison, tmp_path / "comparison.md")
    text = (tmp_path / "comparison.md").read_text()
    section = text.split("## Differences")[1].split("## Conditions")[0]
    tables = [block.splitlines() for block in section.split("\n\n") if block.startswith("| ")]
    b, c = "B R50-FPN · torchvision", "C R50-FPN · torchvision"
    assert tables[0] == [
        f"| Mask AP: row against column | {b} | {c} |",
        "| --- | --- | --- |",
        r"| A R50-FPN · torchvision | better by 0.5 ± 1.0 (p = 0.62) | **better by 2.0 ± 0.0 (p \< 0.001)** |",
        f"| {b} |  | better by 1.5 ± 1.0 (p = 0.27) |",
    ]
    # A loses to B by 1.0 in every draw of Boundary AP; of C, 0.0 +- 1.0 away, nothing can be said.
    assert tables[1][2] == (
        r"| A R50-FPN · torchvision | **worse by 1.0 ± 0.0 (p \< 0.001)** | better by 0.0 ± 1.0 (p = 1) |"
    )


def test_files_of_differences(comparison, tmp_path):
    write_differences(comparison, tmp_path)
    records = json.loads((tmp_path / "differences.json").read_text())
    with open(tmp_path / "differences.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["better"][0], line["worse"][0]) for line in lines] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert [record["mask_ap_significant"] for record in records] == [False, True, False]
    assert float(lines[1]["mask_ap_difference"]) == pytest.approx(2.0)
    assert float(lines[0]["boundary_ap_difference"]) == pytest.approx(-1.0)
    assert lines[0]["replicates"] == "201"
    assert list(records[0]) == list(lines[0])
    text = (tmp_path / "differences.json").read_text()
    assert text == json.dumps(records, indent=1, ensure_ascii=False) + "\n"
    assert [[spelled(value) for value in record.values()] for record in records] == [
        list(line.values()) for line in lines
    ]


def spelled(value):
    """Give a value of a JSON as the cell of a CSV."""
    return "" if value is None else str(value)


def test_files_of_no_difference(tmp_path, write_run):
    write_differences(load([write_run(tmp_path, [build_result()])], tmp_path), tmp_path)
    assert json.loads((tmp_path / "differences.json").read_text()) == []
    assert len((tmp_path / "differences.csv").read_text().splitlines()) == 1


def test_latex_says_what_bold_means(comparison, tmp_path):
    latex.write_latex(comparison, tmp_path / "comparison.tex")
    text = (tmp_path / "comparison.tex").read_text()
    assert r"\textbf{40.0}" in text
    assert r"\textbf{39.5}" in text
    assert r"\textbf{38.0}" not in text
    assert "of mask AP also those not distinguishable from the best: paired bootstrap over images, Holm" in text


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"images": "b"},
        {"draws": 150},
        {"precision": "fp16"},
        {"weights": "random"},
        {"status": "failed"},
    ],
)
def test_only_like_draws_of_comparable_rows_are_paired(tmp_path, write_run, other):
    config = {key: other[key] for key in ("precision", "weights") if key in other}
    second = build_result("B", mask_ap=0.39, **config)
    draws = 0.39 + DRAWS[: other.get("draws", 201)]
    with_replicates(second, draws, seed=other.get("seed", 0), images=other.get("images", "a"))
    second.status = other.get("status", "ok")
    first = with_replicates(build_result("A", mask_ap=0.40), 0.40 + DRAWS)
    comparison = load([write_run(tmp_path, [first, second])], tmp_path)
    assert comparison.groups == []
    assert comparison.tied == {}


def test_a_best_row_without_replicates_ties_with_none(tmp_path, write_run):
    results = [
        build_result("A", mask_ap=0.41),
        with_replicates(build_result("B", mask_ap=0.40), 0.40 + DRAWS),
        with_replicates(build_result("C", mask_ap=0.40), 0.40 + DRAWS + WOBBLE),
    ]
    comparison = load([write_run(tmp_path, results)], tmp_path)
    assert [comparison.cell(row, "model") for row, column in comparison.best if column == "mask_ap"] == ["A"]


def test_nine_plainly_different_models_are_told_apart(tmp_path, write_run):
    """There are 36 pairs. A p counted in 1,000 draws is at least 0.002, so Holm would call none significant."""
    rng = np.random.default_rng(0)
    common = rng.normal(0, 0.02, 1000)
    results = [
        with_replicates(
            build_result(f"M{n}", mask_ap=0.3 + 0.03 * n), 0.3 + 0.03 * n + common + rng.normal(0, 0.002, 1000)
        )
        for n in range(9)
    ]
    (group,) = load([write_run(tmp_path, results)], tmp_path).groups
    assert len(group.pairs["mask_ap"]) == 36
    assert all(difference.significant for difference in group.pairs["mask_ap"].values())


@pytest.mark.parametrize(
    ("difference", "low", "high", "text"),
    [
        (1.23, 0.83, 1.63, "better by 1.2 ± 0.4"),
        (-1.23, -1.63, -0.83, "worse by 1.2 ± 0.4"),
        (0.031, 0.011, 0.051, "better by 0.03 ± 0.02"),
        (0.0, 0.0, 0.0, "better by 0.0 ± 0.0"),
    ],
)
def test_difference_in_words(difference, low, high, text):
    assert difference_text(Difference(difference, low, high, 0.5, 0.5)) == text


def test_p_in_words():
    assert [p_text(p) for p in (0.0, 0.00099, 0.001, 0.0234, 1.0)] == [
        *("p < 0.001", "p < 0.001", "p = 0.001", "p = 0.023", "p = 1"),
    ]
