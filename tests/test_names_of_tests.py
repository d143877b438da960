"""Test what pytest needs of the tests themselves: files are imported by their names alone, so no two may share one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent


def test_no_two_files_of_tests_have_one_name() -> None:
    """Two of one name pass alone and in some distributions over processes, and end the collection in others."""
    counts = Counter(path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in counts.items() if count > 1] == []
