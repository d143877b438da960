"""Runs a study on a cluster: one node plans it, each job runs all its rounds on one node, results come back here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from bench.errors import UserError
from bench.jobs.elsewhere.asked import Asked, Order, asked
from bench.jobs.elsewhere.place import Place, record_unable
from bench.jobs.job import ComposedJob, PlannedJob, passes_due, read_stored, training_left
from bench.jobs.run import Run
from bench.jobs.slots.schedule import rounds_of
from bench.jobs.status.board import write_queue
from bench.jobs.stored import settle
from bench.jobs.study import INTERRUPTED_EXIT
from bench.schema.config import LauncherConfig
from bench.schema.result import Result, read_result
from bench.schema.settings import described


def run_elsewhere(jobs: Sequence[ComposedJob], run: Run) -> int:
    """Plan all jobs on a node, run those that have no complete result yet, and give the exit status.

    The status is that of :func:`bench.jobs.study.run_study`.

    Raises:
        UserError: the study or the cluster has an error; no model has run.
    """
    config = jobs[0].config
    if config.gate is not None or config.baseline is not None:
        raise UserError(
            f"launcher={config.launcher.name}: measures without a gate; leave gate and baseline out, and compare the "
            f"two folders of results with the command gate"
        )
    with _place(config.launcher, run, jobs) as place:
        question = asked(jobs, run.command, config.launcher, _sources(run.out), run.out)
        planned, node = place.plan(question)
        for line in planned.said:
            run.say_once(line)
        orders = _orders(question, [replace(job, folder=run.out / "jobs" / job.folder) for job in planned.jobs])
        settle([order.job for order in orders], run.say)
        write_queue([order.job for order in orders], run.out, run.command)
        return _Study(orders, node, run).run_on(place)


def _place(launcher: LauncherConfig, run: Run, jobs: Sequence[ComposedJob]) -> Place:
    # Imported here: a command on this machine needs neither.
    if launcher.name == "ray":
        from bench.jobs.elsewhere.on_ray.place import RayPlace

        return RayPlace(launcher, run, jobs)
    from bench.jobs.elsewhere.on_slurm.place import SlurmPlace

    return SlurmPlace(launcher, run, jobs)


def _sources(out: Path) -> list[str]:
    """Give the names of the source files that stored results depend on: nodes have them, this machine may not."""
    names: set[str] = set()
    for path in out.glob("jobs/*/result.json"):
        names.update(read_result(path).sources)
    return sorted(names)


def _orders(question: Asked, planned: Sequence[PlannedJob]) -> list[Order]:
    """Give an order for each job: a node is asked for it on the device that was planned."""
    orders = []
    for single, job in zip(question.jobs, planned, strict=True):
        there = replace(single, config=replace(single.config, device=job.config.device))
        orders.append(Order(replace(question, jobs=[there], sources=[]), job))
    return orders


class _Study:
    """The jobs of a command, by their places in it."""

    def __init__(self, orders: Sequence[Order], planned_on: str, run: Run) -> None:
        self._run, self._planned_on = run, planned_on
        self._orders = list(orders)
        settings = described([order.job.config for order in orders])
        self._heads = {
            order.job.folder: f"[{number}/{len(orders)}] {order.job.config.model.name} {text}"
            for number, (order, text) in enumerate(zip(orders, settings, strict=True), 1)
        }
        self._results: list[Result] = []

    def run_on(self, place: Place) -> int:
        """Run what is left; give the exit status."""
        # Two rows may be one job, as of a sweep with equal values: it runs once.
        orders = {order.job.folder: order for order in self._orders}.values()
        left = [order for order in orders if self._is_left(order.job)]
        with _Bar(self._run, len(orders)) as bar:
            bar.ended(len(orders) - len(left))

            def on_end(order: Order, node: str) -> None:
                self._tell(order.job, read_result(order.job.result_path), node)
                bar.ended(1)

            try:
                place.run(left, on_end, bar.counts)
            except KeyboardInterrupt:
                self._run.say(f"interrupted; {place.on_interrupt}")
                return INTERRUPTED_EXIT
        return 0 if all(result.status in ("ok", "skipped") for result in self._results) else 1

    def _is_left(self, job: PlannedJob) -> bool:
        """Tell whether a job is to run; one that cannot run, or has run, is told here."""
        if job.cannot_run:
            self._tell(job, record_unable(job), self._planned_on)
            return False
        stored = read_stored(job)
        due = any(passes_due(job, number) for number in range(1, rounds_of(job) + 1))
        if stored is None or stored.status != "ok" or due or training_left(job):
            return True
        self._run.say(f"{self._heads[job.folder]}: measured before")
        self._results.append(stored)
        return False

    def _tell(self, job: PlannedJob, result: Result, node: str) -> None:
        self._results.append(result)
        outcome = result.status + (f": {result.reason}" if result.reason else "")
        took = f" ({result.seconds:.0f} s)" if result.seconds is not None else ""
        self._run.say(f"{self._heads[job.folder]}: {outcome}{took} (on {node})")


class _Bar:
    """A bar on a terminal: how many jobs have ended, run and wait."""

    def __init__(self, run: Run, jobs: int) -> None:
        columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._bar = ProgressBar(*columns, console=run.console, transient=True, disable=not run.console.is_terminal)
        self._task = self._bar.add_task("", total=jobs)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def ended(self, jobs: int) -> None:
        """Show that so many more jobs have ended."""
        self._bar.advance(self._task, jobs)

    def counts(self, running: int, waiting: int) -> None:
        """Show how many jobs run and wait."""
        self._bar.update(self._task, description=f"{running} running, {waiting} waiting")
