"""What happens on a node: it plans what it is asked for with its own files and libraries, and measures one job.

A node trusts nothing of what another one planned: it plans its job again. A data set, weights or a file of an option
that is another one there makes a row that says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.device.fingerprint import Fingerprint
from bench.device.slots.gpu_lock import gpus_locked, gpus_of
from bench.errors import UserError
from bench.jobs.ask import CheckBrokenError
from bench.jobs.elsewhere.asked import Asked, Order
from bench.jobs.job import Failure, PlannedJob, from_description, passes_due, to_description
from bench.jobs.launcher import OnProgress
from bench.jobs.local import LocalLauncher
from bench.jobs.plan import plan
from bench.jobs.run_job import run_job
from bench.jobs.slots.schedule import rounds_of
from bench.jobs.start import CHECK_LOG
from bench.jobs.stored import settle_alone
from bench.private.environment import FromEnvironment

OF_THE_NODE = ("processor", "usable cores", "GPU", "GPU driver")
"""Facts of a machine in which the nodes of a cluster may differ: a row stands, whichever of them measured it."""

_WORDS = {"dataset": "the data set", "train": "the training set", "weights": "the file of the weights"}


@dataclass(frozen=True)
class Planned:
    """What a node answers.

    jobs: as it planned them; their folders are names
    said: lines on the data
    """

    jobs: list[PlannedJob]
    said: list[str]


def plan_there(text: str) -> str:
    """Plan the jobs of an :class:`Asked`, which is given as JSON; give a :class:`Planned` as JSON, or a refusal."""
    said: list[str] = []
    try:
        asked = Asked.from_json(text)
        with _in_folder_of(asked), tempfile.TemporaryDirectory(prefix="maskbench-") as scratch:
            jobs = [_without_node(job, asked.sources) for job in _planned(asked, Path(scratch), said.append)]
    except UserError as error:
        return json.dumps({"refused": str(error)})
    return json.dumps({"jobs": [to_description(job) for job in jobs], "said": said})


def read_planned(text: str, where: str) -> Planned:
    """Read an answer of :func:`plan_there`.

    where: the node, as a person knows it

    Raises:
        UserError: the node refuses a job.
    """
    answer = json.loads(text)
    if "refused" in answer:
        raise UserError(f"on {where}: {answer['refused']}")
    return Planned([from_description(job) for job in answer["jobs"]], answer["said"])


def measure(order: Order, home: Path, on_progress: OnProgress, say: Callable[[str], None]) -> None:
    """Plan one job here, and measure what is left of it in ``home/jobs/NAME``, where earlier results may lie.

    Its ``result.json`` says how it ended, also where this node cannot run it.

    Raises:
        KeyboardInterrupt: after what was measured is on disk.
    """
    folder = home / "jobs" / order.job.folder.name
    with _in_folder_of(order.asked), tempfile.TemporaryDirectory(prefix="maskbench-") as scratch:
        job = _planned_here(order, Path(scratch))
        job = replace(job, folder=folder)
        if job.cannot_run:
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # what the model printed
                shutil.copy2(Path(scratch, CHECK_LOG), folder / CHECK_LOG)
        settle_alone(job, say)
        with gpus_locked(gpus_of([job.config.device]), say):
            _measure_rounds(job, on_progress)


def _planned(asked: Asked, scratch: Path, say: Callable[[str], None]) -> list[PlannedJob]:
    jobs = [job.composed() for job in asked.jobs]
    results = Path(asked.results) if asked.results else None
    try:
        return plan(jobs, scratch, lambda *_: None, asked.command, say=say, results=results)
    except CheckBrokenError as error:
        raise UserError(f"the check of the models does not start: {' '.join(str(error).split())[-500:]}") from error


def _planned_here(order: Order, scratch: Path) -> PlannedJob:
    """Give the job as it is planned here; as a job that cannot run where it is not the one that was ordered."""
    try:
        [here] = _planned(order.asked, scratch, lambda _: None)
    except UserError as error:
        return replace(order.job, failure=Failure("failed", f"the node refuses it: {error}"))
    if here.cannot_run:
        return here
    differing = [_word(key) for key in sorted({*here.contents, *order.job.contents}) if _differs(key, here, order.job)]
    if differing:
        reason = f"{' and '.join(differing)} on the node: other content than on the node that planned it"
        return replace(order.job, failure=Failure("failed", reason))
    return here


def _word(key: str) -> str:
    return _WORDS.get(key, f"the {key}")


def _differs(key: str, one: PlannedJob, other: PlannedJob) -> bool:
    # Values from the environment have a digest that only one machine can make.
    return key != "environment" and one.contents.get(key) != other.contents.get(key)


def _without_node(job: PlannedJob, sources: Sequence[str]) -> PlannedJob:
    """Give a job without what only this node can look up, nor secrets, for the machine of the command."""
    now = job.now
    digests = {name: digest for name in sources if (digest := now.source(name)) is not None}
    facts = {name: fact for name, fact in now.facts.items() if name not in OF_THE_NODE}
    known = Fingerprint({**digests, **now.sources}, target=now.target, facts=facts)
    return replace(job, now=known, from_environment=FromEnvironment(), folder=Path(job.folder.name))


def _measure_rounds(job: PlannedJob, on_progress: OnProgress) -> None:
    launcher = LocalLauncher()
    for number in range(1, rounds_of(job) + 1):
        due = passes_due(job, number)
        if number > 1 and not due:
            return
        if run_job(job, due, launcher, on_progress).status != "ok":
            return


@contextlib.contextmanager
def _in_folder_of(asked: Asked) -> Iterator[None]:
    """Go to the folder of the command, where this node has it, and have torch take as many threads as there."""
    before, threads = os.getcwd(), os.environ.get("OMP_NUM_THREADS")
    if os.path.isdir(asked.cwd):
        os.chdir(asked.cwd)
    _set("OMP_NUM_THREADS", asked.threads)  # Ray sets it to the CPUs of a task, and rows would differ by that
    try:
        yield
    finally:
        os.chdir(before)
        _set("OMP_NUM_THREADS", threads)


def _set(variable: str, value: str | None) -> None:
    os.environ.pop(variable, None)
    if value is not None:
        os.environ[variable] = value
