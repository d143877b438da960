"""Test what is said of a study that runs: at 80 columns, in a log, at Ctrl-C, and of rows that differ in an option."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
import time
from dataclasses import replace

import pytest
from rich.console import Console

from bench.jobs.messages import Progress
from bench.jobs.progress import StudyProgress
from bench.jobs.told.interrupts import WAITS
from bench.jobs.told.time_left import TimeLeft, time_text
from bench.schema.config import BenchConfig, ModelConfig
from bench.schema.settings import describe, described

LONG = "demo_mask_rcnn_class_agnostic_torchvision"


class Clock:
    """A clock that shows what it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drawn(width: int, at: float = 30.0) -> str:
    """Give the line of a bar, in the middle of the first of two jobs, so many seconds after it began."""
    console, clock = Console(file=io.StringIO(), force_terminal=True, width=width), Clock()
    progress = StudyProgress(console, 2)
    progress._left = TimeLeft(clock)
    progress.begin(LONG, ["accuracy"], "[1/2]")
    progress.on_progress(Progress("load", 0, 1, 0))
    clock.now = at
    progress.on_progress(Progress("accuracy", 0.5, 1, 10))
    file = io.StringIO()
    Console(file=file, force_terminal=True, width=width).print(progress._bar.get_renderable())
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue()).rstrip("\n")


@pytest.mark.parametrize("width", [40, 50, 60, 80, 90, 120])
def test_a_narrow_terminal_shows_the_time_left_and_the_pass(width: int) -> None:
    line = drawn(width)
    assert "\n" not in line
    assert len(line) <= width
    # Loading and the one pass are halves of the first of two jobs: 3/8 of all took 30 s, so that 50 s are left.
    assert re.search(r"38%.* 50 s left$", line), line
    assert re.search(r"demo_.*vision: accuracy" if width > 50 else r"demo_.*: ", line), line


def test_jobs_that_were_measured_before_say_nothing_of_the_time_left() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    assert left.seconds(0, 10) is None
    left.measured_before()
    left.begin()
    assert left.seconds(1, 10) is None
    clock.now = 60.0
    assert left.seconds(3, 10) == pytest.approx(7 * 30.0)  # two jobs took a minute


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (11100, "3 h 05 min")],
)
def test_times_are_written_as_people_say_them(seconds: float | None, text: str) -> None:
    assert time_text(seconds) == text


def test_a_log_has_a_line_at_the_begin_of_a_job_and_each_minute() -> None:
    console = Console(file=io.StringIO(), width=40)
    with StudyProgress(console, 4, minute=0.05) as progress:
        progress.begin("solo", ["speed", "accuracy"], "[2/4] solo cpu fp32 b1")
        progress.on_progress(Progress("speed", 0.25, 1, 10))
        time.sleep(0.3)
    assert isinstance(console.file, io.StringIO)
    first, *lines = console.file.getvalue().splitlines()
    assert first == "[2/4] solo cpu fp32 b1: begins (speed, accuracy)"
    assert len(lines) >= 2
    assert all(re.fullmatch(r"\[2/4\] solo cpu fp32 b1: speed 25%; study 2%, about \d+ s left", line) for line in lines)


def test_a_terminal_has_no_such_lines() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with StudyProgress(console, 1, minute=0.01) as progress:
        progress.begin("solo", ["speed"], "[1/1] solo")
        time.sleep(0.05)
    assert isinstance(console.file, io.StringIO)
    assert "begins" not in console.file.getvalue()
    assert "study" not in console.file.getvalue()


@pytest.mark.parametrize("at_work", [True, False])
def test_ctrl_c_says_at_once_that_it_waits_for_what_runs(at_work: bool) -> None:
    console = Console(file=io.StringIO(), width=200)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StudyProgress(console, 1) as progress:
            if at_work:
                progress.begin("solo", ["speed"], "[1/1] solo")
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start() or time.sleep(5)
            assert isinstance(console.file, io.StringIO)
            assert console.file.getvalue().count(WAITS) == at_work
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_rows_that_differ_in_an_option_are_not_called_the_same() -> None:
    def job(name: str, **options: object) -> BenchConfig:
        return BenchConfig(model=ModelConfig(name=name, options=options), device="cpu")

    jobs = [job("a", x=1, same=5), job("a", x=2, same=5), job("b", x=1), replace(job("a", x=1), batch_size=4)]
    plain = [describe(each) for each in jobs]
    assert described(jobs) == [f"{plain[0]} · x=1", f"{plain[1]} · x=2", plain[2], plain[3]]


def test_a_job_whose_later_process_loads_does_not_go_back() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    progress = StudyProgress(console, 1)
    progress.begin("a", ["memory", "speed"], "[1/1]")
    shares = []
    for name, done in (("load", 0.0), ("memory", 0.5), ("memory", 1.0), ("load", 0.0), ("speed", 0.5)):
        progress.on_progress(Progress(name, done, 1, 1))
        shares.append(progress._bar.tasks[0].completed)
    assert shares == sorted(shares)
    assert shares == pytest.approx([0.0, 1.5 / 3, 2 / 3, 2 / 3, 2.5 / 3])
