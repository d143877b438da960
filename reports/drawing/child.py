"""The process that draws: it answers one question after the other until nobody asks any more.

    child.py FD MODULE:CLASS MEMORY FOLDER

FD is one end of a connection, over which the other process sends the arguments of the class, and then questions: the
name of a method and its arguments. MEMORY is how many bytes of memory this process may ask for, and FOLDER the one
that paths are relative to.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import sys
from multiprocessing.connection import Connection
from typing import Any


def main(arguments: list[str]) -> None:
    """Answer each question with ``(True, answer)``, or with ``(False, reason)`` where it failed."""
    connection, (module, _, name) = Connection(int(arguments[0])), arguments[1].partition(":")
    limit = _bounded(int(arguments[2]))
    drawings = getattr(importlib.import_module(module), name)
    # Only now, so that matplotlib has found no matplotlibrc in that folder.
    os.chdir(arguments[3])
    from reports.parts import reason_of

    connection.send("ready")
    made: Any = None
    while True:
        try:
            method, given = connection.recv()
        except EOFError:
            return
        try:
            if made is None:
                made = drawings(*given)
                answer: Any = None
            else:
                answer = getattr(made, method)(*given)
            reply = True, answer
        except MemoryError:
            reply = False, f"more than the {limit / 2**30:.0f} GiB of memory that a picture may take"
        except Exception as error:
            reply = False, reason_of(error)
        connection.send(reply)


def _bounded(limit: int) -> int:
    """Bound what this process may write to, in bytes, and give the bound: a user's own limit may be lower.

    Not the address space: V8, which draws charts, reserves 60 GB of it that it never touches.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = min(limit, *(bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY), limit)
    with contextlib.suppress(OSError, ValueError):  # a system that has no such limit
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    return limit


if __name__ == "__main__":
    # This file's folder, where Python puts it, gives way to the one that holds our packages.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    for package in ("bench", "reports"):
        importlib.import_module(package)
    main(sys.argv[1:])
