"""Running the jobs of a study one after the other, with a progress bar, whatever becomes of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.jobs.job import PlannedJob, passes_due, training_left
from bench.jobs.launcher import run_job
from bench.jobs.plan import plan
from bench.jobs.validate import Job
from bench.schema.result import Result, read_result

INTERRUPTED_EXIT = 130


def output_folder(jobs: Sequence[Job]) -> Path:
    """Where the results go: ``out=``, or a folder of this moment's under ``runs/``."""
    config = jobs[0].config
    return Path(config.out or f"runs/{config.study or 'run'}-{datetime.now():%Y-%m-%d-%H%M%S}").expanduser()


def run_study(jobs: Sequence[Job], out: Path, console: Console, command: str = "") -> int:
    """Check all jobs, run those whose results are not there yet, and give the exit status.

    The status is 0 when every row is ok or skipped, 1 when one is not, 130 after Ctrl-C; whatever was
    measured is on disk in each case. ``command`` is what the user typed.

    Raises:
        UserError: something is wrong with the study, found before any model ran.
    """
    rounds = max(job.config.protocol.rounds if "speed" in job.config.passes else 1 for job in jobs)
    with StudyProgress(console, len(jobs) * rounds) as progress:
        planned = plan(jobs, out, progress.on_download, command)
        results: dict[int, Result] = {}
        status = 0
        try:
            for round_number in range(1, rounds + 1):
                for number, job in enumerate(planned, 1):
                    head = f"[{number}/{len(planned)}]" + (f" round {round_number} of {rounds}" if rounds > 1 else "")
                    if round_number == 1 or _goes_on(results[number], job, round_number):
                        results[number] = _run_or_reuse(job, round_number, head, progress, console)
                    else:
                        progress.next_job()
        except KeyboardInterrupt:
            console.print("interrupted; what was measured is kept, and the same command with the same out= goes on")
            status = INTERRUPTED_EXIT
    if status == 0 and any(result.status not in ("ok", "skipped") for result in results.values()):
        status = 1
    return status


def _goes_on(result: Result, job: PlannedJob, round_number: int) -> bool:
    """Whether a job that has been through the rounds before this one has more to do in it."""
    return result.status == "ok" and bool(passes_due(job, round_number))


def _run_or_reuse(job: PlannedJob, round_number: int, number: str, progress: StudyProgress, console: Console) -> Result:
    config = job.config
    head = f"{number} {config.model.name} {config.device} {config.precision} b{config.batch_size}"
    head += f" {config.input_size}" if config.input_size else ""
    job.due = passes_due(job, round_number)
    if job.skip_reason is None and not job.due and not training_left(job):
        earlier = read_result(job.result_path)
        if earlier.status == "ok":
            console.print(f"{head}: measured before", markup=False, highlight=False)
            progress.next_job()
            return earlier
    progress.begin(job.config.model.name, head)
    began = time.monotonic()
    result = run_job(job, progress.on_message)
    progress.next_job()
    outcome = result.status + (f": {result.reason}" if result.reason else "")
    took = f" ({time.monotonic() - began:.0f} s)" if result.seconds is not None else ""
    console.print(f"{head}: {outcome}{took}", markup=False, highlight=False, soft_wrap=True)
    return result


class StudyProgress:
    """The bars on a terminal: current model and pass, images per second, time left; below, the losses of a training.

    Elsewhere only what a training finds when it is evaluated.
    """

    def __init__(self, console: Console, jobs: int) -> None:
        self._console = console
        # Two redraws a second: the parent sleeps beside the measurement, it does not animate.
        self._bar = Progress(
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
        self._passes: list[str] = []
        self._model = ""
        self._head = ""
        self._began = 0.0

    def __enter__(self) -> StudyProgress:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def begin(self, model: str, head: str = "") -> None:
        """A job starts; ``head`` is what its lines begin with."""
        self._model, self._head, self._passes = model, head, []
        self._bar.update(self._study, description=f"{model}: loading", rate="")

    def next_job(self) -> None:
        """A job has ended."""
        self._jobs_done += 1
        self._end_training()
        self._bar.update(self._study, completed=self._jobs_done, rate="")

    def on_message(self, message: dict[str, Any]) -> None:
        """What a worker says of itself: {"pass", "done", "total", "images"}, images since the pass began; of a training
        also "status" (its losses) and "line" (for the user to read)."""
        name = message["pass"]
        if name not in self._passes:
            self._passes.append(name)
            self._began = time.monotonic()
        elapsed = time.monotonic() - self._began
        rate = f"{message['images'] / elapsed:.1f} images/s" if message["images"] and elapsed > 0.5 else ""
        if line := message.get("line"):
            where = f"iteration {message['done']:.0f} of {message['total']:.0f}"
            self._console.print(f"{self._head}: {where}: {line}", markup=False, highlight=False)
        if name == "finetune":
            self._show_training(message, rate)
            return
        self._end_training()
        # Loading, memory, speed, accuracy: a quarter of the job each is near enough for a bar.
        within = (len(self._passes) - 1 + message["done"] / max(message["total"], 1e-9)) / 4
        self._bar.update(
            self._study, description=f"{self._model}: {name}", completed=self._jobs_done + min(within, 1.0), rate=rate
        )

    def on_download(self, model: str, received: int, total: int | None) -> None:
        """Weights are being fetched."""
        of = f" of {total / 1e6:.0f}" if total else ""
        self._bar.update(self._study, description=f"{model}: fetching weights, {received / 1e6:.0f}{of} MB")

    def _show_training(self, message: dict[str, Any], rate: str) -> None:
        """A bar of its own: a training is most of its job, and its time left is known well."""
        if self._training is None:
            self._training = self._bar.add_task("", total=message["total"], rate="")
        self._bar.update(self._study, description=f"{self._model}: training", rate="")
        if status := message.get("status"):
            self._bar.update(self._training, description=status)
        self._bar.update(self._training, completed=message["done"], rate=rate)

    def _end_training(self) -> None:
        if self._training is not None:
            self._bar.remove_task(self._training)
            self._training = None
