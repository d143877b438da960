"""Workers that measure nothing and write results at once, to test in which order, where and beside what jobs run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.device.slots.slot import Slot
from bench.jobs.job import PlannedJob
from bench.jobs.launcher import Ending
from bench.jobs.process.stop import Stop
from bench.jobs.progress import StudyProgress
from bench.jobs.run import Run
from bench.jobs.slots import several
from bench.jobs.slots.schedule import rounds_of
from bench.jobs.slots.turns import Turns
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig, ProtocolConfig
from bench.schema.parts.costs import FlopsResult, MemoryResult
from bench.schema.parts.speed import SpeedResult, SpeedRound, Timing
from bench.schema.result import PASSES, read_own_result, write_result

SLOTS = (Slot("one", "cpu"), Slot("two", "cpu"))


def planned(folder: Path, *, exclusive: str = "machine", rounds: int = 1, passes: Sequence[str] = ()) -> PlannedJob:
    """Give a job of this folder's name."""
    config = BenchConfig(
        model=ModelConfig(name=folder.name),
        dataset=DatasetConfig(name="d"),
        protocol=ProtocolConfig(exclusive=exclusive, rounds=rounds),
        passes=list(passes or ("speed", "memory", "flops")),
    )
    return PlannedJob(config, {}, folder)


@dataclass
class Event:
    """One worker at work: its job, the passes of its phase, its slot, and from when to when."""

    job: str
    phase: str
    slot: str
    began: float
    ended: float = 0.0

    @property
    def timed(self) -> bool:
        """Whether it timed anything."""
        return any(PASSES[name].timed for name in self.phase.split(","))

    def beside(self, other: Event) -> bool:
        """Whether both were at work at one moment."""
        return self.began < other.ended and other.began < self.ended


@dataclass
class Fakes:
    """Takes the place of the launchers of slots.

    does: is called with a worker's job and phase when it begins, and may wait or raise; what it gives is how it ended
    """

    does: Callable[[str, str], Ending | None] = lambda job, phase: None
    events: list[Event] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, slot: Slot, stop: Stop, on_part: Callable[[str], None]) -> Any:
        return _Launcher(self, slot, on_part)

    def of(self, job: str) -> list[Event]:
        """Give the workers of a job, in order."""
        return [event for event in self.events if event.job == job]


@dataclass
class _Launcher:
    fakes: Fakes
    slot: Slot
    on_part: Callable[[str], None]

    def start(self, job: PlannedJob, phase: str) -> Any:
        return _Worker(self, job, phase)


@dataclass
class _Worker:
    launcher: _Launcher
    job: PlannedJob
    phase: str
    complete: bool = False
    seconds_by_part: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None: ...

    def tell(self, line: str) -> None: ...

    def tell_no_more(self) -> None: ...

    def listen(self, until: Any, on_progress: Any, on_untimed: Callable[[], None]) -> Ending:
        fakes, name = self.launcher.fakes, self.job.folder.name
        event = Event(name, self.phase, self.launcher.slot.name, time.monotonic())
        with fakes.lock:
            fakes.events.append(event)
        try:
            for part in self.phase.split(","):
                self.launcher.on_part(part)
            ending = fakes.does(name, self.phase)
            time.sleep(0.02)
            if ending is None:
                self._write()
        finally:
            self.launcher.on_part("end")
            event.ended = time.monotonic()
        return ending or Ending(True)

    def _write(self) -> None:
        result = read_own_result(self.job.result_path)
        result.notes += [note for note in [f"{self.phase} was here"] if note not in result.notes]
        for name in self.phase.split(","):
            if name == "memory":
                result.memory = MemoryResult(1, 1)
            elif name == "flops" and self.job.folder.name != "no_flops":
                result.flops = FlopsResult(1.0, 0.0, 1)
            elif name == "speed":
                rounds = result.speed.rounds if result.speed else []
                result.speed = _speed([*rounds, SpeedRound(1, 1.0, [], True)])
        write_result(result, self.job.result_path)


def _speed(rounds: list[SpeedRound]) -> SpeedResult:
    count = len(rounds)
    timing = Timing([1.0] * count, "perf_counter")
    return SpeedResult(1, rounds, *[timing] * 5, [1] * count, [[1, 1]] * count, [])


def run(
    jobs: Sequence[PlannedJob], fakes: Fakes, monkeypatch: pytest.MonkeyPatch, said: list[str] | None = None
) -> Turns:
    """Run jobs on two slots by workers of this file; give their turns, with the results."""
    monkeypatch.setattr(several, "LocalLauncher", fakes)
    console = Console(quiet=True)
    this = Run(jobs[0].folder.parent, [], "", None, console, slots=SLOTS)  # type: ignore[arg-type]
    if said is not None:
        monkeypatch.setattr(Run, "say", lambda self, text: said.append(text))
    turns = Turns(jobs, max(rounds_of(job) for job in jobs), this)
    with StudyProgress(console, len(jobs)) as progress:
        several.run_on_slots(turns, this, progress)
    return turns
