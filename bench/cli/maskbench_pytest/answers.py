"""Asks another process of maskbench about finished runs."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_ABOVE = (folder / "run_bench.py" for folder in Path(__file__).resolve().parents)
COMMAND = next(path for path in _ABOVE if path.exists())
"""The command: beside this package where it is installed, else at the top of the checkout."""

_process: subprocess.Popen[str] | None = None


class RefusedError(Exception):
    """A test asks for something impossible; the message is one line for the user."""


def ask(**question: Any) -> dict[str, Any]:
    """Give the answer of ``bench/cli/answer.py`` to a question. The first question starts its process, which stays.

    Raises:
        RefusedError: the question has an error that the user can correct.
        RuntimeError: the process has died; its output is on standard error.
    """
    global _process
    if _process is None or _process.poll() is not None:
        _process = subprocess.Popen(
            [sys.executable, str(COMMAND), "--answer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C then reaches only this process
        )
        atexit.register(_end, _process)
    assert _process.stdin is not None
    assert _process.stdout is not None
    _process.stdin.write(json.dumps(question, default=repr) + "\n")
    _process.stdin.flush()
    line = _process.stdout.readline()
    if not line:
        raise RuntimeError(f"{COMMAND} --answer ended with status {_process.wait()}; its last words are on stderr")
    answer: dict[str, Any] = json.loads(line)
    if "refused" in answer:
        raise RefusedError(answer["refused"])
    return answer


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()  # it has no file open for writing
    process.communicate()
