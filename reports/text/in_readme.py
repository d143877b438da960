"""Bring a part of a page up to date, which one of the tools beside this module writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.errors import UserError


def bring_up_to_date(change: Callable[[str], str], arguments: Sequence[str] | None, page: str) -> int:
    """Change a text file, by default ``page``, and give the exit status: 0, or 2 where it cannot be changed.

    change: gives the new text for the present one; a UserError says what is wrong with that
    arguments: those of the command, at most one path; None takes them from ``sys.argv``
    """
    [path] = (sys.argv[1:] if arguments is None else arguments) or [page]
    try:
        Path(path).write_text(change(Path(path).read_text(encoding="utf-8")), encoding="utf-8")
    except (OSError, UserError) as error:
        print(f"error: {path}: {error}", file=sys.stderr)
        return 2
    return 0
