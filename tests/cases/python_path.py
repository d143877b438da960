"""The environment of a process that a test starts, above all its ``PYTHONPATH``."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOYS = ROOT / "tests" / "toys"


def python_path(*folders: Path | str) -> str:
    """Give these folders, and behind them what ``PYTHONPATH`` holds already.

    A machine whose packages come through the variable would find none of them without it. This checkout is left out
    unless it is among ``folders``: a test of what is installed elsewhere would find the checkout instead.
    """
    held = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return os.pathsep.join([*map(str, folders), *(entry for entry in held if Path(entry).resolve() != ROOT)])


def command_environment(cache: Path) -> dict[str, str]:
    """Give the environment of a command: the toy models importable, caches out of the home folder."""
    return {**os.environ, "PYTHONPATH": python_path(TOYS), "MASKBENCH_CACHE": str(cache), "COLUMNS": "140"}
