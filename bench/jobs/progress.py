"""What a person sees of a study while it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from bench.jobs.messages import Progress


class StudyProgress:
    """The bars on a terminal: current model and pass, images per second, time left; below, the losses of a training.

    Elsewhere only what a training finds when it is evaluated.
    """

    def __init__(self, console: Console, jobs: int) -> None:
        self._console = console
        # Two redraws a second: the parent sleeps beside the measurement, it does not animate.
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"),
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
        """A job starts that may run these passes; ``head`` is what its lines begin with."""
        self._model, self._head, self._passes, self._begun = model, head, passes, []
        self._bar.update(self._study, description=f"{model}: loading", rate="")

    def next_job(self) -> None:
        """A job has ended."""
        self._jobs_done += 1
        self._end_training()
        self._bar.update(self._study, completed=self._jobs_done, rate="")

    def on_progress(self, progress: Progress) -> None:
        """Show what a worker says of itself."""
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
        # Loading and each pass as an equal share of the job is near enough for a bar.
        within = (len(self._begun) - 1 + progress.done / max(progress.total, 1e-9)) / (len(self._passes) + 1)
        self._bar.update(
            self._study,
            description=f"{self._model}: {progress.name}",
            completed=self._jobs_done + min(within, 1.0),
            rate=rate,
        )

    def on_download(self, model: str, received: int, total: int | None) -> None:
        """Weights are being fetched."""
        of = f" of {total / 1e6:.0f}" if total else ""
        self._bar.update(self._study, description=f"{model}: fetching weights, {received / 1e6:.0f}{of} MB")

    def _show_training(self, progress: Progress, rate: str) -> None:
        """A bar of its own: a training is most of its job, and its time left is known well."""
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
