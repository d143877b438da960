"""How a worker process is started: with which command, and in which environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds ``bench``, ``adapters``, ``configs`` and ``weights``, in a checkout or installed."""


def worker_command(python: str | None, root: str | None, *arguments: str) -> list[str]:
    """The command that starts a worker, to be run in the folder where the user's own package lies.

    python: its interpreter; root: the folder of the maskbench that it imports. Of either, None is this process's own.
    """
    bootstrap = Path(root or ROOT) / "bench" / "jobs" / "worker" / "bootstrap.py"
    return [python or sys.executable, str(bootstrap), *arguments]


def worker_environment() -> dict[str, str]:
    """The environment of this process; what a worker prints reaches its log at once."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}
