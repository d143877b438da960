"""The progress of a study on the terminal."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from bench.jobs.messages import Progress


class Shown(ABC):
    """Shows what runs in one place, one job after the other: its model and pass, images per second, time left; below,
    the losses of a training.

    Where the output is no terminal, only the evaluations of a training are printed.
    """

    def __init__(self, console: Console, bar: ProgressBar) -> None:
        self._console, self._bar = console, bar
        self._training: TaskID | None = None
        self._passes: Sequence[str] = ()
        self._begun: list[str] = []
        self._model = ""
        self._head = ""
        self._began = 0.0

    @abstractmethod
    def _show(self, description: str, within: float | None, rate: str = "") -> None:
        """Show what runs now, and which share of the job is done; None leaves the bar as it is."""

    @abstractmethod
    def _job_ended(self) -> None:
        """Show that a job has ended."""

    def begin(self, model: str, passes: Sequence[str], head: str) -> None:
        """Show that a job starts, which may run these passes; ``head`` is the beginning of its lines."""
        self._model, self._head, self._passes, self._begun = model, head, passes, []
        self._show(f"{model}: loading", None)

    def next_job(self) -> None:
        """Show that a job has ended."""
        self._end_training()
        self._job_ended()

    def on_progress(self, progress: Progress) -> None:
        """Show a progress message of a worker."""
        if progress.name not in self._begun:
            self._begun.append(progress.name)
            self._began = time.monotonic()
        elapsed = time.monotonic() - self._began
        rate = f"{progress.images / elapsed:.1f} images/s" if progress.images and elapsed > 0.5 else ""
        if progress.line:
            where = f"iteration {progress.done:.0f} of {progress.total:.0f}"
            self._console.print(f"{self._head}: {where}: {progress.line}", markup=False, highlight=False)
        if progress.name == "finetune":
            self._show_training(progress, rate)
            return
        self._end_training()
        # Loading and each pass count as equal shares of the job, which is near enough for a bar.
        within = (len(self._begun) - 1 + progress.done / max(progress.total, 1e-9)) / (len(self._passes) + 1)
        self._show(f"{self._model}: {progress.name}", min(within, 1.0), rate)

    def _show_training(self, progress: Progress, rate: str) -> None:
        """Show a training in a bar of its own: it is most of its job, and its time left is known well."""
        if self._training is None:
            self._training = self._bar.add_task("", total=progress.total, rate="")
        self._show(f"{self._model}: training", None)
        if progress.status:
            self._bar.update(self._training, description=progress.status)
        self._bar.update(self._training, completed=progress.done, rate=rate)

    def _end_training(self) -> None:
        if self._training is not None:
            self._bar.remove_task(self._training)
            self._training = None


class StudyProgress(Shown):
    """Shows the bar of a study, with what runs now; where jobs run side by side, a line for each slot below it."""

    def __init__(self, console: Console, jobs: int) -> None:
        """Make the bar.

        jobs: how many jobs run, or turns of jobs; :meth:`expect` corrects it
        """
        # Two redraws a second, so that this process takes no processor time from the measurement.
        bar = ProgressBar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            refresh_per_second=2,
            transient=True,
            disable=not console.is_terminal,
        )
        super().__init__(console, bar)
        self._study: TaskID = bar.add_task("checking", total=jobs, rate="")
        self._lock = threading.Lock()
        self._jobs_done = 0

    def __enter__(self) -> StudyProgress:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def expect(self, jobs: int) -> None:
        """Show that so many jobs, or turns, will run in all."""
        self._bar.update(self._study, total=jobs)

    def line(self, name: str) -> Shown:
        """Give a line of its own for a slot."""
        self._bar.update(self._study, description="all slots")
        return _SlotLine(name, self, self._console, self._bar)

    def on_download(self, model: str, received: int, total: int | None) -> None:
        """Show the download of weights, in bytes."""
        of = f" of {total / 1e6:.0f}" if total else ""
        self._bar.update(self._study, description=f"{model}: fetching weights, {received / 1e6:.0f}{of} MB")

    def count_job(self) -> None:
        """Count a job that has ended, on whichever slot."""
        with self._lock:
            self._jobs_done += 1
            self._bar.update(self._study, completed=self._jobs_done, rate="")

    def _show(self, description: str, within: float | None, rate: str = "") -> None:
        completed = None if within is None else self._jobs_done + within
        self._bar.update(self._study, description=description, completed=completed, rate=rate)

    def _job_ended(self) -> None:
        self.count_job()


class _SlotLine(Shown):
    def __init__(self, name: str, study: StudyProgress, console: Console, bar: ProgressBar) -> None:
        super().__init__(console, bar)
        self._name, self._of_all = name, study
        self._task = bar.add_task(f"{name}: idle", total=1.0, rate="")

    def _show(self, description: str, within: float | None, rate: str = "") -> None:
        self._bar.update(self._task, description=f"{self._name}: {description}", completed=within, rate=rate)

    def _job_ended(self) -> None:
        self._of_all.count_job()
        self._bar.update(self._task, description=f"{self._name}: idle", completed=0.0, rate="")
