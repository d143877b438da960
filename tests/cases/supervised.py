"""Programs of a few lines that run as a worker does, under a supervisor, without torch and without a job."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.jobs.process.contained import Contained
from bench.jobs.start import ROOT

BEGINNING = f"""
import os, signal, subprocess, sys, time
sys.path.insert(0, {str(ROOT)!r})
from bench.jobs.worker.supervise import supervise
descriptor = int(sys.argv[1])
supervise(descriptor)
"""

SLEEPER_OF_ITS_OWN_SESSION = """
import pathlib
sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
pathlib.Path("sleeper").write_text(str(sleeper.pid))
"""


def contained(folder: Path, does: str) -> Contained:
    """Start a program that does this under its supervisor, in ``folder``, which then holds its ``worker.log``."""
    script = folder / "script.py"
    script.write_text(BEGINNING + does)
    return Contained(
        lambda descriptor: [sys.executable, "-u", str(script), str(descriptor)],
        subprocess.PIPE,
        folder / "worker.log",
        os.environ,
        str(folder),
    )


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Give the first true value of the condition, which must come in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come in time")


def number_in(path: Path) -> int | None:
    """Give the number in a file; None where the file is not there yet, or still empty."""
    return int(text) if path.exists() and (text := path.read_text()) else None


def is_running(process: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
