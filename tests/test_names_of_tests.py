"""Test what pytest needs of the tests themselves: files are imported by their names alone, so no two may share one."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from conftest import LONGEST

TESTS = Path(__file__).parent


def test_no_two_files_of_tests_have_one_name() -> None:
    """Two of one name pass alone and in some distributions over processes, and end the collection in others."""
    counts = Counter(path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_longest_files_come_first() -> None:
    """They are there, and pytest collects them in that order before any other, whatever it is asked for first."""
    paths = [str(TESTS / name) for name in reversed(LONGEST)]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", __file__, *paths]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    files = list(dict.fromkeys(line.split("::")[0] for line in done.stdout.splitlines() if "::" in line))
    named = [f"tests/{name}" for name in LONGEST]
    assert [name for name in files if name in named] == [name for name in named if name in files]
    assert files[-1] == f"tests/{Path(__file__).name}"
