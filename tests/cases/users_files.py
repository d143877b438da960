"""Put a test into a folder of a user's own, whose modules it can import, and forget these modules afterwards."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def enter_folder(folder: Path, files: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, *first: Path) -> None:
    """Write the files, by their names in the folder, and make it the current one; ``first`` begin Python's path."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*map(str, first), *sys.path])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
