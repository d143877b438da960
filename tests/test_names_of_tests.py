"""Test what pytest needs of the tests themselves: files are imported by their names alone, so no two may share one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from longest_files import LONGEST, longest_first

TESTS = Path(__file__).parent


def test_no_two_files_of_tests_have_one_name() -> None:
    """Two of one name pass alone and in some distributions over processes, and end the collection in others."""
    counts = Counter(path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_longest_files_come_first() -> None:
    """They are there under their names, and the others keep their order."""
    paths = [TESTS / "b.py", *(TESTS / name for name in reversed(LONGEST)), TESTS / "a.py", TESTS / "b.py"]
    assert [path for path in paths if not path.exists()] == [TESTS / "b.py", TESTS / "a.py", TESTS / "b.py"]
    items: list[Any] = [SimpleNamespace(path=path) for path in paths]
    longest_first(items)
    names = [item.path.relative_to(TESTS).as_posix() for item in items]
    assert names == [*LONGEST, "b.py", "a.py", "b.py"]
