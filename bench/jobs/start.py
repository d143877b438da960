"""The command and the environment that a worker process is started with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds ``bench``, ``adapters``, ``configs`` and ``weights``, in a checkout or installed."""

CHECK_LOG = "check.log"
"""The file in the folder of the results that holds what the models print while they are checked."""


def worker_command(python: str | None, root: str | None, *arguments: str) -> list[str]:
    """Give the command that starts a worker; run it in the folder that holds the user's own package.

    python: the worker's interpreter
    root: the folder of the maskbench that it imports
    For both, None means that of this process.
    """
    bootstrap = Path(root or ROOT) / "bench" / "jobs" / "worker" / "bootstrap.py"
    return [python or sys.executable, str(bootstrap), *arguments]


def worker_environment() -> dict[str, str]:
    """Give the environment of this process, in which a worker's prints reach its log at once."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}
