"""The progress of a study: a bar with the time left on a terminal, else a line when a job begins and one a minute."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress as ProgressBar
from rich.progress import Task, TaskID

from bench.errors import visible
from bench.jobs.messages import Progress
from bench.jobs.told.columns import columns, shortened
from bench.jobs.told.each_minute import MINUTE, EachMinute
from bench.jobs.told.interrupts import told_at_once
from bench.jobs.told.time_left import TimeLeft, time_text

TRAINING = 0.9
"""The share of a job that its training counts as."""


class Shown(ABC):
    """Shows what runs in one place, one job after the other: its model and pass, images per second, time left; below,
    the losses of a training.

    Where the output is no terminal, a line says when a job begins, and :meth:`now` what the others say once a minute.
    The evaluations of a training are printed in both.
    """

    def __init__(self, console: Console, bar: ProgressBar) -> None:
        self._console, self._bar = console, bar
        self._training: TaskID | None = None
        self._passes: Sequence[str] = ()
        self._begun: list[str] = []
        self._model = ""
        self._head = ""
        self._doing = ""
        self._began = 0.0
        self._trained = False
        self._most = 0.0
        self.working = False

    @abstractmethod
    def _show(self, description: str, within: float | None, rate: str = "") -> None:
        """Show what runs now, and which share of the job is done; None leaves the bar as it is."""

    @abstractmethod
    def _job_ended(self, *, worked: bool) -> None:
        """Show that a job has ended; ``worked`` is False for one of which nothing was left to measure."""

    def begin(self, model: str, passes: Sequence[str], head: str) -> None:
        """Show that a job starts, which may run these passes; ``head`` is the beginning of its lines."""
        self._model, self._head, self._passes, self._begun = shortened(model, self._console.width), head, passes, []
        self._doing, self.working, self._trained, self._most = "loading", True, False, 0.0
        if head and not self._console.is_terminal:
            self._say(f"{head}: begins ({', '.join(passes) or 'training'})")
        self._show(f"{self._model}: loading", None)

    def next_job(self) -> None:
        """Show that a job has ended."""
        self._end_training()
        worked, self.working = self.working, False
        self._job_ended(worked=worked)

    def on_progress(self, progress: Progress) -> None:
        """Show a progress message of a worker."""
        if progress.name not in self._begun:
            self._begun.append(progress.name)
            self._began = time.monotonic()
        elapsed = time.monotonic() - self._began
        rate = f"{progress.images / elapsed:.1f} images/s" if progress.images and elapsed > 0.5 else ""
        share = progress.done / max(progress.total, 1e-9)
        if progress.line:
            where = f"iteration {progress.done:.0f} of {progress.total:.0f}"
            self._say(f"{self._head}: {where}: {progress.line}")
        if progress.name == "finetune":
            left = time_text(elapsed * (1 - share) / share) if share > 0 and elapsed > 0.5 else ""
            self._doing = f"training {min(share, 1):.0%}" + (f", {left} left of it" if left else "")
            self._show_training(progress, rate)
            return
        self._end_training()
        self._doing = f"{progress.name} {min(share, 1):.0%}"
        # Loading and each pass count as equal shares of the job, which is near enough for a bar.
        within = min((len(self._begun) - 1 + share) / (len(self._passes) + 1), 1.0)
        if self._trained:
            within = TRAINING + (1 - TRAINING) * within
        # Each process of a job loads; the bar does not go back for that.
        within = self._most = max(self._most, within)
        self._show(f"{self._model}: {progress.name}", within, rate)

    def now(self) -> str:
        """Say which job runs here, and how far it is: ``[3/8] solo cpu fp32 b1: speed 40%``; "" where none does."""
        return f"{self._head or self._model}: {self._doing}" if self.working else ""

    def _say(self, line: str) -> None:
        self._console.print(visible(line), markup=False, highlight=False, soft_wrap=True)

    def _show_training(self, progress: Progress, rate: str) -> None:
        """Show a training in a bar of its own: it is most of its job, and its time left is known well."""
        if self._training is None:
            self._training = self._bar.add_task("", total=progress.total, rate="")
        self._trained = True
        self._show(f"{self._model}: training", TRAINING * min(progress.done / max(progress.total, 1e-9), 1.0))
        if progress.status:
            self._bar.update(self._training, description=progress.status)
        self._bar.update(self._training, completed=progress.done, rate=rate)

    def _end_training(self) -> None:
        if self._training is not None:
            self._bar.remove_task(self._training)
            self._training = None


class StudyProgress(Shown):
    """Shows the bar of a study, with what runs now; where jobs run side by side, a line for each slot below it."""

    def __init__(self, console: Console, jobs: int, minute: float = MINUTE) -> None:
        """Make the bar.

        jobs: how many jobs run, or turns of jobs; :meth:`expect` corrects it
        minute: seconds between two lines where the output is no terminal
        """
        self._left = TimeLeft()
        # Two redraws a second, so that this process takes no processor time from the measurement.
        bar = ProgressBar(
            *columns(console.width, self.time_left),
            console=console,
            refresh_per_second=2,
            transient=True,
            expand=True,
            disable=not console.is_terminal,
        )
        super().__init__(console, bar)
        self._study: TaskID = bar.add_task("checking", total=jobs, rate="")
        self._lock = threading.Lock()
        self._jobs, self._jobs_done, self._within = float(jobs), 0, 0.0
        self._lines: list[_SlotLine] = []
        self._minute = EachMinute(self._tell, minute)
        self._entered = contextlib.ExitStack()

    def __enter__(self) -> StudyProgress:
        self._entered.enter_context(told_at_once(self._say, lambda: any(each.working for each in self._places())))
        self._bar.start()
        if not self._console.is_terminal:
            self._minute.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._minute.stop()
        self._bar.stop()
        self._entered.close()

    def expect(self, jobs: int) -> None:
        """Show that so many jobs, or turns, will run in all."""
        self._jobs = jobs
        self._bar.update(self._study, total=jobs)

    def line(self, name: str) -> Shown:
        """Give a line of its own for a slot."""
        self._bar.update(self._study, description="all slots")
        self._lines.append(_SlotLine(name, self, self._console, self._bar))
        return self._lines[-1]

    def on_download(self, model: str, received: int, total: int | None) -> None:
        """Show the download of weights or of a data set, in bytes.

        model: or the name of the data set
        """
        of = f" of {total / 1e6:.0f}" if total else ""
        self._bar.update(self._study, description=f"{model}: fetching, {received / 1e6:.0f}{of} MB")

    def begin(self, model: str, passes: Sequence[str], head: str) -> None:
        """See :meth:`Shown.begin`."""
        self._left.begin()
        super().begin(model, passes, head)

    def begin_on_slot(self) -> None:
        """Say that a slot begins to work."""
        self._left.begin()

    def count_job(self, *, worked: bool) -> None:
        """Count a job that has ended, on whichever slot."""
        with self._lock:
            self._jobs_done += 1
            self._within = 0.0
            if not worked:
                self._left.measured_before()
            self._bar.update(self._study, completed=self._jobs_done, rate="")

    def time_left(self, task: Task) -> str:
        """Say how much time a bar needs still: of a training by its own pace, of slots nothing."""
        if task.id == self._study:
            return time_text(self._left.seconds(self._done(), self._jobs))
        return "" if any(each.is_of(task.id) for each in self._lines) else time_text(task.time_remaining)

    def _done(self) -> float:
        return self._jobs_done + (sum(each.within for each in self._lines) if self._lines else self._within)

    def _places(self) -> Sequence[Shown]:
        return [self, *self._lines]

    def _tell(self) -> None:
        """Say in a line what runs in each place, how much of the study is done and how much time is left."""
        running = [text for each in self._places() if (text := each.now())]
        left = time_text(self._left.seconds(self._done(), self._jobs))
        study = f"study {self._done() / max(self._jobs, 1e-9):.0%}" + (f", about {left} left" if left else "")
        for text in running:
            self._say(f"{text}; {study}")

    def _show(self, description: str, within: float | None, rate: str = "") -> None:
        self._within = self._within if within is None else within
        completed = None if within is None else self._jobs_done + within
        self._bar.update(self._study, description=description, completed=completed, rate=rate)

    def _job_ended(self, *, worked: bool) -> None:
        self.count_job(worked=worked)


class _SlotLine(Shown):
    def __init__(self, name: str, study: StudyProgress, console: Console, bar: ProgressBar) -> None:
        super().__init__(console, bar)
        self._name, self._of_all = name, study
        self._task = bar.add_task(f"{name}: idle", total=1.0, rate="")
        self.within = 0.0

    def is_of(self, task: TaskID) -> bool:
        """Tell whether a task is this line."""
        return task == self._task

    def begin(self, model: str, passes: Sequence[str], head: str) -> None:
        """See :meth:`Shown.begin`."""
        self._of_all.begin_on_slot()
        super().begin(model, passes, head)

    def _show(self, description: str, within: float | None, rate: str = "") -> None:
        self.within = self.within if within is None else within
        self._bar.update(self._task, description=f"{self._name}: {description}", completed=within, rate=rate)

    def _job_ended(self, *, worked: bool) -> None:
        self.within = 0.0
        self._of_all.count_job(worked=worked)
        self._bar.update(self._task, description=f"{self._name}: idle", completed=0.0, rate="")
