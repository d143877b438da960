"""Reads the log of a process, which may be gone, or anything at all."""

from __future__ import annotations

from pathlib import Path


def last_line(log: Path) -> str:
    """Give the last line of a log in a phrase; it says so where there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return f"{log.name} is gone"
    return f"its last words: {lines[-1].strip()}" if lines else f"{log.name} is empty"
