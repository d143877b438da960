"""A report of more rows than a page shows: what is cut away is counted, and what is shown is of the whole."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from fabricated_study import write_study
from literal_results import build_result, with_replicates
from rich.console import Console

import reports
import reports.cut
from bench.evaluation.bootstrap import holm, interval, paired_difference, paired_differences
from bench.schema.result import read_result, write_result
from reports.cut import best_of, cut, cut_words, listed
from reports.lean import Lean
from reports.records import write_records
from reports.table import differences
from reports.table.claims import claims
from reports.table.comparison import Comparison, load, loaded
from reports.table.differences import apart
from reports.table.selection import select


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a study of 60 rows of six models, four of which crashed."""
    return write_study(tmp_path_factory.mktemp("study"), 60, models=6, batches=6, replicates=20, failed=15)


@pytest.fixture(scope="module")
def whole(study: Path) -> Comparison:
    return load([study], study)


def test_a_part_keeps_the_labels_marks_and_p_values_of_the_whole(whole: Comparison) -> None:
    part = cut(whole, 20)
    assert len(part.rows) == 20
    numbers = [whole.labels.index(label) for label in part.labels]
    assert numbers == sorted(numbers)
    for place, number in enumerate(numbers):
        assert part.rows[place] is whole.rows[number]
        assert [part.cell(place, name) for name in part.frame] == [whole.cell(number, name) for name in whole.frame]
        assert {name for row, name in part.best if row == place} == {name for row, name in whole.best if row == number}
        assert part.tied.get(place) == whole.tied.get(number)
    pairs = {(whole.labels[a], whole.labels[b]): d for g in whole.groups for (a, b), d in g.pairs["mask_ap"].items()}
    kept = {(part.labels[a], part.labels[b]): d for g in part.groups for (a, b), d in g.pairs["mask_ap"].items()}
    assert kept
    assert all(pairs[pair] == difference for pair, difference in kept.items())


def test_few_rows_are_not_cut(whole: Comparison) -> None:
    assert cut(whole, 60) is whole
    assert cut_words(whole) == ""


def test_every_row_that_is_the_best_in_something_is_shown_before_others(whole: Comparison) -> None:
    best = {row for row, _ in whole.best}
    part = cut(whole, len(best) + 1)
    assert {whole.labels[row] for row in best} <= set(part.labels)


def test_each_group_of_comparable_rows_is_shown_by_its_first_ones(whole: Comparison) -> None:
    """Six models in ten settings: of 30 rows of 56 that ended well, a group does not take the places of another."""
    shown = best_of(whole, whole.with_status("ok"), 30)
    settings = {tuple(whole.text(row, name) for name in ("precision", "batch_size", "input_size")) for row in shown}
    assert len(settings) == 10


def test_a_page_of_a_part_says_so_and_the_files_hold_all(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports.cut, "MOST_ROWS", 25)
    monkeypatch.setattr(reports.cut.cut, "__defaults__", (25,))
    page = reports.build([study], tmp_path).read_text()
    words = "25 of 60 rows are shown (21 of 56 that ended well, 4 of 4 that did not)"
    assert words in page
    assert words in (tmp_path / "comparison.md").read_text()
    console = Console(width=100, record=True)
    console.print(reports.terminal_table([study]), crop=False)
    assert words in " ".join(console.export_text().split())
    assert "56 of 60 rows ok" in page
    assert len(re.findall("<tr [^>]*data-text=", page)) == 25
    assert len(json.loads((tmp_path / "comparison.json").read_text())) == 60
    with open(tmp_path / "comparison.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 61
    # Six models in ten settings, of which one in fifteen crashed.
    with open(tmp_path / "differences.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + sum(len(g.pairs["mask_ap"]) for g in load([study], study).groups)


def test_a_claim_about_a_row_that_is_not_shown_is_judged_all_the_same(tmp_path: Path) -> None:
    claim = {"claim": "b is better", "source": "s", "better": "b_x", "worse": "c_x", "metric": "mask_ap"}
    for name, ap in (("A", 0.9), ("B", 0.5), ("C", 0.4)):
        result = with_replicates(build_result(name, "", "x", mask_ap=ap, claims=[claim]), [ap, ap + 0.01, ap - 0.01])
        write_result(result, tmp_path / "jobs" / name / "result.json")
    part = cut(load([tmp_path], tmp_path), 1)
    assert len(part.rows) == 1
    [judged] = claims(part)
    assert judged.verdict == "more"


def _estimates(group: differences.Group, metric: str = "mask_ap") -> dict[tuple[int, int], tuple[float, ...]]:
    return {pair: (d.difference, d.low, d.high, d.p) for pair, d in group.pairs[metric].items()}


def test_of_many_rows_the_best_are_compared_with_one_another_and_all_with_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_study(tmp_path, 12, models=12, batches=6, replicates=50, failed=0)
    [full] = load([study], study).groups
    assert full.paired is None
    assert len(full.pairs["mask_ap"]) == 12 * 11 // 2
    monkeypatch.setattr(differences, "MOST_PAIRS", 12)
    comparison = load([study], study)
    [few] = comparison.groups
    assert few.rows == full.rows
    assert few.paired == 5  # ten pairs; of six rows there are fifteen
    first, among = few.rows[0], few.rows[:5]
    assert set(few.pairs["mask_ap"]) == {
        (a, b) for a, b in full.pairs["mask_ap"] if a == first or (a in among and b in among)
    }
    everything = _estimates(full)
    assert all(estimate == everything[pair] for pair, estimate in _estimates(few).items())
    p_values = [d.p for d in few.pairs["mask_ap"].values()]
    assert [d.p_holm for d in few.pairs["mask_ap"].values()] == holm(p_values)
    # Two that were not compared are, where somebody asks; never with a smaller p than its family would have given it.
    a, b = few.rows[7], few.rows[9]
    assert few.difference("mask_ap", a, b) is None
    asked = apart(comparison.rows, few, "mask_ap", a, b)
    assert asked is not None
    assert (asked.difference, asked.p) == (everything[a, b][0], everything[a, b][3])
    assert asked.p_holm == min(1.0, asked.p * (len(p_values) + 1))


def test_rows_that_cannot_be_told_apart_are_said_so_though_their_pair_was_not_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differences, "MOST_PAIRS", 1)
    scatter = np.random.default_rng(0).normal(0, 0.01, (4, 30))
    for number, ap in enumerate((0.5, 0.45, 0.3, 0.3001)):
        result = with_replicates(build_result("ABCD"[number], mask_ap=ap), (ap + scatter[number]).tolist())
        write_result(result, tmp_path / "jobs" / str(number) / "result.json")
    comparison = load([tmp_path], tmp_path)
    [group] = comparison.groups
    assert group.paired == 2
    chosen = select(comparison, "mask_ap < 40", "mask_ap")
    assert [comparison.text(row, "model") for row in chosen.satisfying] == ["D", "C"]
    assert chosen.tied == chosen.satisfying[1:]


@pytest.mark.parametrize("replicates", [1, 2, 9, 1000])
def test_many_differences_at_once_are_those_of_each_pair_to_the_last_digit(replicates: int) -> None:
    rng = np.random.default_rng(0)
    samples, measured = rng.normal(0.3, 0.01, (40, replicates)), rng.normal(0, 0.01, 39)
    for (a, b), difference, found in zip(
        [(samples[0], other) for other in samples[1:]],
        measured.tolist(),
        paired_differences(samples[:1], samples[1:], measured),
        strict=True,
    ):
        moved = (a - b) + (difference - (a - b).mean())
        assert found[:3] == (difference, *interval(moved.tolist(), difference))
        assert found == paired_difference(a.tolist(), b.tolist(), difference)


def test_a_lean_result_has_the_same_numbers(study: Path) -> None:
    path = next(study.glob("jobs/job-00000/result.json"))
    plain, lean = read_result(path), Lean()(read_result(path))
    assert plain.speed is not None
    assert lean.speed is not None
    assert list(lean.speed.model.latency_ms) == plain.speed.model.latency_ms
    assert lean.speed.image_sizes == plain.speed.image_sizes
    assert lean.accuracy is not None
    assert plain.accuracy is not None
    assert lean.accuracy.bootstrap is not None
    assert plain.accuracy.bootstrap is not None
    assert list(lean.accuracy.bootstrap.mask_ap) == plain.accuracy.bootstrap.mask_ap
    assert (lean.config, lean.machine) == (plain.config, plain.machine)


def test_what_was_loaded_serves_the_table_until_a_file_changes(study: Path, tmp_path: Path) -> None:
    run = write_study(tmp_path / "run", 3, batches=3, replicates=5, failed=0)
    comparison = load([run], run)
    assert loaded([run]) is comparison
    assert loaded([study]) is None
    result = read_result(run / "jobs/job-00001/result.json")
    result.notes.append("changed")
    write_result(result, run / "jobs/job-00001/result.json")
    assert loaded([run]) is None


@pytest.mark.parametrize("records", [[], [{"a": 1, "b": None, "c": 'x\n"y"é'}, {"a": 0.1, "b": True, "c": "{}, ["}]])
def test_records_are_written_as_json_with_a_line_for_each_key(records: list[dict[str, object]], tmp_path: Path) -> None:
    write_records(records, tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == json.dumps(records, indent=1, ensure_ascii=False) + "\n"


def test_a_sentence_names_few_rows() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(f"r{n}" for n in range(1031)) == ", ".join(f"r{n}" for n in range(30)) + " and 1,001 more"
