"""ONNX files that no maker publishes: each is exported, once, from the trained weights of another model."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

from bench.errors import UserError

ABSENT = 5
"""The exit status of the exporting process where its interpreter lacks a library."""

_ROOT = Path(__file__).resolve().parents[2]


class LibraryAbsentError(Exception):
    """The interpreter lacks the library of the model that would be exported; the text is the reason of a row."""


@functools.cache
def exported(model: str) -> Path:
    """Give the ONNX file of the trained weights of ``model``, a name in ``configs/model``, from the cache.

    These are the weights of its configuration; those of its zoo where the configuration has random ones.

    The export runs in a process of its own, with this interpreter: a plan imports neither torch nor a library. Its
    progress goes to standard error.

    Raises:
        UserError: the weights cannot be fetched, or the model cannot be exported.
        LibraryAbsentError: this interpreter lacks the library.
    """
    command = [sys.executable, "-m", "bench.cli.exported", f"model={model}"]
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = ran.stdout.strip().splitlines()
    if ran.returncode == 0 and lines:
        return Path(lines[-1])
    why = lines[-1] if lines else f"the process ended with status {ran.returncode}"
    if ran.returncode == ABSENT:
        raise LibraryAbsentError(why)
    raise UserError(f"model.zoo.export={model}: {why}")
