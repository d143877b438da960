"""Tests that one Slurm job alone has a row, whatever becomes of those before it."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

from bench.jobs.elsewhere.on_slurm.claims import Claim, claim, holder


def _claim(owner: str, restarts: int = 0) -> Claim:
    return Claim(owner, restarts, "node", "2026-01-01T00:00:00+00:00")


def test_a_claim_holds_while_its_job_lives(tmp_path: Path) -> None:
    assert claim(tmp_path, "row", _claim("1_0"), lambda owner: True) is None
    assert claim(tmp_path, "row", _claim("2_0"), lambda owner: owner == "1_0") == _claim("1_0")
    assert claim(tmp_path, "row.1", _claim("2_0"), lambda owner: True) is None  # a name that begins alike
    assert claim(tmp_path, "row", _claim("3_0"), lambda owner: owner != "1_0") is None
    assert claim(tmp_path, "row", _claim("4_0"), lambda owner: owner != "1_0") == _claim("3_0")
    assert holder(tmp_path, "row") == _claim("3_0")
    assert holder(tmp_path, "another") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["row.0.json", "row.1.0.json", "row.1.json"]


def test_a_job_that_was_put_back_into_the_queue_has_its_row_again(tmp_path: Path) -> None:
    assert claim(tmp_path, "row", _claim("1_0"), lambda owner: True) is None
    assert claim(tmp_path, "row", _claim("1_0", 1), lambda owner: True) is None
    assert claim(tmp_path, "row", _claim("1_0", 1), lambda owner: True) == _claim("1_0", 1)
    assert claim(tmp_path, "row", _claim("2_0"), lambda owner: True) == _claim("1_0", 1)


def test_a_name_may_have_what_patterns_are_made_of(tmp_path: Path) -> None:
    assert claim(tmp_path, "a[b]*", _claim("1_0"), lambda owner: True) is None
    assert claim(tmp_path, "a[b]*", _claim("2_0"), lambda owner: True) == _claim("1_0")


def _attempt(folder: Path, number: int, start: Any, won: Any) -> None:
    start.wait()
    for row in range(50):
        if claim(folder, f"row{row}", _claim(f"2_{number}"), lambda owner: owner != "1_0") is None:
            won.put((row, number))


def test_of_many_who_find_a_claim_expired_one_gets_it(tmp_path: Path) -> None:
    for row in range(50):
        assert claim(tmp_path, f"row{row}", _claim("1_0"), lambda owner: True) is None
    context = multiprocessing.get_context("spawn")
    start, won = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_attempt, args=(tmp_path, number, start, won)) for number in range(4)]
    for process in processes:
        process.start()
    winners = [won.get(timeout=200) for _ in range(50)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert won.empty()
    assert sorted(row for row, _ in winners) == list(range(50))
    for row, number in winners:
        assert holder(tmp_path, f"row{row}") == _claim(f"2_{number}")
