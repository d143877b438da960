"""Which processes work for this command. This module needs the standard library alone."""

from __future__ import annotations

import contextlib
import os

COMMAND = "MASKBENCH_COMMAND"
"""Variable of a worker's environment: the id of the command's process. All that it has started works for it."""


def works_for_us(process: int) -> bool:
    """Whether a process is this one, the command that has started it, or one that either has started."""
    ours = {os.getpid(), int(os.environ.get(COMMAND, os.getpid()))}
    while process not in ours:
        told = _state_and_parent(process)
        if told is None or process <= 1:
            return False
        process = told[1]
    return True


def can_be_seen(process: int) -> bool:
    """Whether a process is there, as far as it can be seen from here."""
    return _state_and_parent(process) is not None


def has_ended(process: int) -> bool:
    """Whether a process can be seen and has ended, so that it is only waited for."""
    told = _state_and_parent(process)
    return told is not None and told[0] in "ZX"


def _state_and_parent(process: int) -> tuple[str, int] | None:
    """Give a process's state and parent; None where there is none, or where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{process}/stat", "rb") as file:
        # The second field is the name of the program in brackets, and may hold anything.
        state, parent = file.read().rpartition(b")")[2].split()[:2]
        return state.decode("ascii"), int(parent)
    return None
