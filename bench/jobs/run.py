"""A run: one call of the command, with all that its jobs share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.jobs.launcher import Launcher


@dataclass(frozen=True)
class Run:
    """One call of the command.

    out: the folder of its results
    arguments: what the user typed
    launcher: where its jobs run
    console: where a person follows it
    """

    out: Path
    arguments: Sequence[str]
    launcher: Launcher
    console: Console

    @property
    def command(self) -> str:
        """What the user typed, to be kept beside weights that may be published: without the folder of the results."""
        return shlex.join(["python", "run_bench.py", *(a for a in self.arguments if not a.startswith("out="))])

    def say(self, text: str) -> None:
        """Print a line as it is, however long, without reading markup in it."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
