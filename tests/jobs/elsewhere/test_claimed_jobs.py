"""Tests that one Slurm job alone has a row, whatever becomes of those before it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.jobs.elsewhere.on_slurm.claims import Claim, claim, holder

ROOT = Path(__file__).resolve().parents[3]


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


ATTEMPTS = """
import json, pathlib, sys
from bench.jobs.elsewhere.on_slurm.claims import Claim, claim

folder, owner = pathlib.Path(sys.argv[1]), sys.argv[2]
mine = Claim(owner, 0, "node", "2026-01-01T00:00:00+00:00")
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps([row for row in range(50) if claim(folder, f"row{row}", mine, lambda other: other != "1_0") is None]))
"""


def test_of_many_who_find_a_claim_expired_one_gets_it(tmp_path: Path) -> None:
    for row in range(50):
        assert claim(tmp_path, f"row{row}", _claim("1_0"), lambda owner: True) is None
    owners = [f"2_{number}" for number in range(4)]
    command = [sys.executable, "-c", ATTEMPTS, str(tmp_path)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen([*command, owner], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for owner in owners]
    assert [process.stdout.readline() for process in processes if process.stdout] == 4 * ["ready\n"]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("begin\n")
        process.stdin.flush()
    won = {owner: json.loads(process.communicate()[0]) for owner, process in zip(owners, processes, strict=True)}
    assert sorted(row for rows in won.values() for row in rows) == list(range(50))
    for owner, rows in won.items():
        assert all(holder(tmp_path, f"row{row}") == _claim(owner) for row in rows)
