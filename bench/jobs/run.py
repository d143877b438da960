"""A run is one call of the command, with everything that its jobs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from bench.device.slots.slot import Slot
from bench.errors import visible
from bench.jobs.launcher import Launcher


@dataclass(frozen=True)
class Run:
    """One call of the command.

    out: the folder of its results
    arguments: what the user typed, in the spelling of Hydra
    command: what the user typed as one line without ``out=``, since it is kept beside weights that may be published
    launcher: starts the workers of its jobs, where these run one after the other
    slots: the parts of this machine that its jobs run on side by side; none or one where they do not
    wait: whether to wait for a GPU that another command uses
    console: prints its progress for a person
    said: the lines that are said once
    """

    out: Path
    arguments: Sequence[str]
    command: str
    launcher: Launcher
    console: Console
    slots: Sequence[Slot] = ()
    wait: bool = True
    said: set[str] = field(default_factory=set)

    def say(self, text: str) -> None:
        """Print a line as it is, however long, without reading markup in it or passing commands on to the terminal."""
        self.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def say_once(self, text: str) -> None:
        """Print a line as :meth:`say` does, unless this call of the command has printed it already."""
        if text not in self.said:
            self.said.add(text)
            self.say(text)
