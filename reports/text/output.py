"""The standard streams of a command, made so that nothing that is printed can end it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

WIDTH = 120
"""Columns of what is printed where no terminal says how many it has."""


def output_width() -> int | None:
    """Give the width for a ``rich`` console on stdout; None where it asks the terminal itself.

    A file or a pipe has no width to ask for, and rich would take 80 columns: ``COLUMNS`` says it, else :data:`WIDTH`.
    """
    if sys.stdout.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and int(given) else WIDTH


@contextlib.contextmanager
def tolerant_output() -> Iterator[None]:
    """Let a command print what its terminal cannot show, and go on where nobody listens any more.

    A character that the stream's encoding lacks is printed as a question mark. A stream that cannot be written (a pipe
    whose reader has ended, a terminal that was closed, a full disk) loses what is printed from then on. Neither changes
    how the command ends.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_tolerant(stream) for stream in before)
    try:
        yield
    finally:
        # Python would flush at its very end, where an error changes the exit status.
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _tolerant(stream: TextIO | None) -> Any:
    if stream is None:  # the process was started with this stream closed
        return open(os.devnull, "w", encoding="utf-8")
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    return _Tolerant(stream)


class _Tolerant:
    """A stream whose ``write`` and ``flush`` raise no OSError; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._lost_where_nobody_listens():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lost_where_nobody_listens():
            self._stream.flush()

    @contextlib.contextmanager
    def _lost_where_nobody_listens(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # What the stream still holds goes nowhere too, else the next flush would fail again.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
