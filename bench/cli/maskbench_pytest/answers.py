"""A process of maskbench beside this one, which is asked what finished runs say."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_ABOVE = (folder / "run_bench.py" for folder in Path(__file__).resolve().parents)
COMMAND = next(path for path in _ABOVE if path.exists())
"""Beside this package where it is installed, at the top of a checkout."""

_process: subprocess.Popen[str] | None = None


class RefusedError(Exception):
    """What is wrong with what a test asks for, in one line."""


def ask(**question: Any) -> dict[str, Any]:
    """The answer of ``bench/cli/answer.py`` to a question. The first question starts its process, which stays.

    Raises:
        RefusedError: the question cannot be answered, which is the user's to mend.
        RuntimeError: the process has died; what it said is on standard error.
    """
    global _process
    if _process is None or _process.poll() is not None:
        _process = subprocess.Popen(
            [sys.executable, str(COMMAND), "--answer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # a Ctrl-C is for this process alone
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
    process.kill()  # it writes nothing that could be lost
    process.communicate()
