"""An object for the process that draws: some of its pictures end the process, hang or take all memory."""

from __future__ import annotations

import os
import signal
import sys
import time

import matplotlib


class ToyDrawings:
    def __init__(self, name: str) -> None:
        self.name = name
        self.drawn = 0

    def draw(self, picture: str) -> str:
        self.drawn += 1
        return f"{self.name} {picture} {self.drawn}"

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def leave(self) -> None:
        os._exit(3)

    def hang(self) -> None:
        time.sleep(1000)

    def hog(self) -> int:
        return len(bytes(20 << 30))

    def fail(self) -> None:
        raise ValueError("no such\ncolour")

    def settings(self) -> tuple[list[str], bool]:
        """Names of the settings of matplotlib that differ from its defaults, and whether pyplot was imported."""
        # Reading the name of the backend would import pyplot.
        names = [name for name in matplotlib.rcParamsDefault if name != "backend"]
        changed = [name for name in names if matplotlib.rcParams[name] != matplotlib.rcParamsDefault[name]]
        return changed, "matplotlib.pyplot" in sys.modules


class NeverReady:
    def __init__(self) -> None:
        raise RuntimeError("cannot begin")
