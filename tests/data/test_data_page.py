"""docs/data.md has a row for every kind of finding in the code, with its texts as they are printed."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import bench.data
from bench.data.findings import Kind

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"


def kinds() -> dict[str, Kind]:
    """Give the kinds of every module of the data room by their names."""
    found: dict[str, Kind] = {}
    for module in pkgutil.walk_packages(bench.data.__path__, "bench.data."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Kind):
                assert found.setdefault(value.name, value) == value, f"{value.name} is the name of two kinds"
    return found


def row(kind: Kind) -> str:
    def escaped(text: str) -> str:
        return text.replace("|", "\\|")

    return f"| `{kind.name}` | {escaped(kind.what)} | {escaped(kind.then)} |"


def test_the_page_has_a_row_for_every_kind() -> None:
    page = PAGE.read_text()
    missing = [row(kind) for kind in kinds().values() if row(kind) not in page.splitlines()]
    assert not missing, "docs/data.md lacks these rows:\n" + "\n".join(missing)


def test_the_page_has_no_row_of_a_kind_that_is_gone() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| .* \|$", PAGE.read_text(), re.MULTILINE)
    assert rows
    assert sorted(set(rows) - set(kinds())) == []
