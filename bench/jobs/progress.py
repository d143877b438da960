"""The progress of a study on the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from bench.jobs.messages import Progress


class StudyProgress:
    """Shows bars on a terminal: current model and pass, images per second, time left; below, the losses of a training.

    Where the output is no terminal, only the evaluations of a training are printed.
    """

    def __init__(self, console: Console, jobs: int) -> None:
        self._console = console
        # Two redraws a second, so that this process takes no processor time from the measurement.
        self._bar = ProgressBar(
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
        self._study: TaskID = self._bar.add_task("checking", total=jobs, rate="")
        self._training: TaskID | None = None
        self._jobs_done = 0
        self._passes: Sequence[str] = ()
        self._begun: list[str] = []
        self._model = ""
        self._head = ""
        self._began = 0.0

    def __enter__(self) -> StudyProgress:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def begin(self, model: str, passes: Sequence[str], head: str) -> None:
        """Show that a job starts, which may run these passes; ``head`` is the beginning of its lines."""
        self._model, self._head, self._passes, self._begun = model, head, passes, []
        self._bar.update(self._study, description=f"{model}: loading", rate="")

    def next_job(self) -> None:
        """Show that a job has ended."""
        self._jobs_done += 1
        self._end_training()
        self._bar.update(self._study, completed=self._jobs_done, rate="")

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
        self._bar.update(
            self._study,
            description=f"{self._model}: {progress.name}",
            completed=self._jobs_done + min(within, 1.0),
            rate=rate,
        )

    def on_download(self, model: str, received: int, total: int | None) -> None:
        """Show the download of weights, in bytes."""
        of = f" of {total / 1e6:.0f}" if total else ""
        self._bar.update(self._study, description=f"{model}: fetching weights, {received / 1e6:.0f}{of} MB")

    def _show_training(self, progress: Progress, rate: str) -> None:
        """Show a training in a bar of its own: it is most of its job, and its time left is known well."""
        if self._training is None:
            self._training = self._bar.add_task("", total=progress.total, rate="")
        self._bar.update(self._study, description=f"{self._model}: training", rate="")
        if progress.status:
            self._bar.update(self._training, description=progress.status)
        self._bar.update(self._training, completed=progress.done, rate=rate)

    def _end_training(self) -> None:
        if self._training is not None:
            self._bar.remove_task(self._training)
            self._training = None
