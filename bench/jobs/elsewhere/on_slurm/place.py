"""Runs the jobs of a command as a Slurm array, and shows how it goes; the array does not need the command to go on."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from bench.errors import UserError
from bench.files.json_file import write_text_atomically
from bench.jobs.elsewhere.asked import Asked, Order
from bench.jobs.elsewhere.node import Planned, read_planned
from bench.jobs.elsewhere.on_slurm import queue, tasks
from bench.jobs.elsewhere.on_slurm.claims import holder
from bench.jobs.elsewhere.on_slurm.submit import require_submitit, submit
from bench.jobs.elsewhere.place import OnCounts, OnEnd, record_lost
from bench.jobs.job import ComposedJob, passes_due, read_stored
from bench.jobs.process.log import last_line
from bench.jobs.run import Run
from bench.schema.config import LauncherConfig
from bench.schema.result import INTERRUPTED, PASSES, UNFINISHED, write_result

_TICK_SECONDS = 2.0
_SHARED_SECONDS = 15.0
"""How long a file that a node has written may take to be seen here: file systems of a network keep what they know."""

_STATUSES = {"TIMEOUT": "timeout", "DEADLINE": "timeout", "OUT_OF_MEMORY": "out_of_memory"}
"""Statuses of a result by how Slurm says that its job ended; of all others it is ``crashed``."""


class SlurmPlace:
    """See :class:`bench.jobs.elsewhere.place.Place`."""

    def __init__(self, launcher: LauncherConfig, run: Run, jobs: Sequence[ComposedJob]) -> None:
        self._launcher, self._out, self._say = launcher, run.out.absolute(), run.say
        self._devices = {job.config.device for job in jobs}
        self._refuse_devices()
        queue.require_commands()
        require_submitit()
        self._folder = self._out / tasks.FOLDER
        self._ids: dict[str, str] = {}
        self._answers = True

    def __enter__(self) -> SlurmPlace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def on_interrupt(self) -> str:
        """See :class:`bench.jobs.elsewhere.place.Place`."""
        arrays = " ".join(sorted({job.partition("_")[0] for job in self._ids.values()}))
        return (
            f"the Slurm jobs go on without this command. The same command with the same out= shows them again; "
            f"scancel {arrays} ends them"
        )

    def plan(self, asked: Asked) -> tuple[Planned, str]:
        """See :class:`bench.jobs.elsewhere.place.Place`: a job of its own, which also finds that ``out=`` is shared."""
        token = uuid.uuid4().hex[:12]
        question, answer = (self._folder / f"{what}-{token}.json" for what in ("asked", "answer"))
        write_text_atomically(question, asked.to_json())
        [job] = submit(
            self._folder / "logs",
            self._launcher,
            tasks.plan_task,
            [(str(self._out), token)],
            gpus_per_node=self._gpus("cuda" if self._devices != {"cpu"} else "cpu"),
        )
        try:
            self._wait_for(answer, job)
        except KeyboardInterrupt:
            queue.cancel(job)
            raise
        told = json.loads(answer.read_text(encoding="utf-8"))
        for path in (question, answer):
            path.unlink(missing_ok=True)
        return read_planned(told["answer"], told["node"]), told["node"]

    def run(self, orders: Sequence[Order], on_end: OnEnd, on_counts: OnCounts) -> None:
        """See :class:`bench.jobs.elsewhere.place.Place`."""
        if not orders:
            return
        for order in orders:
            write_text_atomically(self._folder / "orders" / f"{order.job.folder.name}.json", order.to_json())
        left = {order.job.folder.name: order for order in orders}
        self._ids = {name: job for name, job in self._submitted().items() if name in left}
        self._submit([order for name, order in left.items() if name not in self._ids])
        while left:
            running = self._queue()
            on_counts(*_counts(running, [self._ids[name] for name in left]))
            for name in [name for name in left if running is not None and self._ids[name] not in running]:
                order = left.pop(name)
                on_end(order, self._ended(order))
            if left:
                time.sleep(_TICK_SECONDS)

    def _submit(self, orders: Sequence[Order]) -> None:
        """Submit an array of the jobs that need a node alone, and one of the others, for each number of GPUs."""
        groups: dict[tuple[bool, int | None], list[Order]] = {}
        for order in orders:
            groups.setdefault((_timed(order), self._gpus(order.job.config.device)), []).append(order)
        for (alone, gpus), group in groups.items():
            ids = submit(
                self._folder / "logs",
                self._launcher,
                tasks.run_task,
                [(str(self._out), order.job.folder.name) for order in group],
                gpus_per_node=gpus,
                exclusive=True if alone else None,
            )
            self._ids |= {order.job.folder.name: job for order, job in zip(group, ids, strict=True)}
            write_text_atomically(self._folder / "submitted.json", json.dumps(self._ids))
            first = ids[0].partition("_")[0]
            self._say(f"Slurm job {first}: {len(group)} rows" + (", each with a node to itself" if alone else ""))

    def _submitted(self) -> dict[str, str]:
        """Give the Slurm jobs of an earlier command that have not ended, by the names of the jobs."""
        with contextlib.suppress(OSError, ValueError):
            before = json.loads((self._folder / "submitted.json").read_text(encoding="utf-8"))
            running = self._queue()
            while running is None:
                time.sleep(_TICK_SECONDS)
                running = self._queue()
            found = {str(name): str(job) for name, job in before.items() if job in running}
            if found:
                self._say(f"{len(found)} rows are still with Slurm from an earlier command; they are waited for")
            return found
        return {}

    def _queue(self) -> dict[str, queue.Waiting] | None:
        """Give what Slurm has of our jobs; None where it does not answer now."""
        try:
            found = queue.jobs_in_queue()
        except queue.NoAnswerError as error:
            if self._answers:
                self._say(f"Slurm does not answer ({error}); it is asked again until it does")
            self._answers = False
            return None
        self._answers = True
        return found

    def _ended(self, order: Order) -> str:
        """See to it that the result of a job that has ended says so; give the node."""
        job, name = order.job, order.job.folder.name
        end = queue.end_of(self._ids[name])
        claimed = holder(self._folder / "claims", name)
        deadline = time.monotonic() + _SHARED_SECONDS
        while (stored := read_stored(job)) is None or stored.reason == UNFINISHED:
            if time.monotonic() > deadline or end.state in ("CANCELLED", "NODE_FAIL"):
                break
            time.sleep(_TICK_SECONDS / 4)
        state = f" ({end.state})" if end.state else ""
        result = record_lost(job, f"its Slurm job ended{state} before its result was complete; see {tasks.FOLDER}/logs")
        if stored is None or stored.reason in (UNFINISHED, INTERRUPTED):
            result.status = _STATUSES.get(end.state, result.status)
            if end.state == "TIMEOUT":
                result.reason = "its Slurm job came to its time limit; launcher.time_min sets it"
            write_result(result, job.result_path)
        return claimed.node if claimed else end.node or "no node"

    def _wait_for(self, answer: Path, job: str) -> None:
        """Wait for the file that a Slurm job writes.

        Raises:
            UserError: the job has ended, and the file is not here.
        """
        told = False
        deadline: float | None = None
        while not answer.exists():
            running = self._queue()
            if running is not None and job not in running:
                deadline = deadline or time.monotonic() + _SHARED_SECONDS
                if time.monotonic() > deadline:
                    raise self._no_answer(job)
            elif running is not None and not told and running[job].reason not in ("None", ""):
                self._say(f"Slurm job {job} will plan the rows on a node; it waits ({running[job].reason})")
                told = True
            time.sleep(_TICK_SECONDS / 4)

    def _no_answer(self, job: str) -> UserError:
        end = queue.end_of(job)
        where = f" on {end.node}" if end.node else ""
        state = f" ({end.state})" if end.state else ""
        if self._log_file(job) is None:
            return UserError(
                f"out={self._out}: is not shared with the nodes: Slurm job {job} ended{where}{state} and has left "
                f"nothing there; give a folder that the nodes see at the same path"
            )
        ended = f"Slurm job {job}, which plans the rows, ended{where}{state}"
        return UserError(f"launcher=slurm: {ended}: {self._log(job)}")

    def _log(self, job: str) -> str:
        file = self._log_file(job)
        return last_line(file) if file is not None else "it has no log"

    def _log_file(self, job: str) -> Path | None:
        return next((self._folder / "logs").glob(f"{job}_*_log.out"), None)

    def _refuse_devices(self) -> None:
        for device in sorted(self._devices):
            if device == "auto" and not self._launcher.gpus_per_node:
                raise UserError(
                    "launcher=slurm: device=auto is not known before a node is; give device=cuda:0 or device=cpu"
                )
            if device not in ("auto", "cpu", "cuda", "cuda:0"):
                raise UserError(
                    f"device={device}: a job of launcher=slurm sees only the GPUs that it is given; give device=cuda:0"
                )

    def _gpus(self, device: str) -> int | None:
        given = self._launcher.gpus_per_node
        return given if given is not None or device == "cpu" else 1


def _timed(order: Order) -> bool:
    due = {*passes_due(order.job, 1), *passes_due(order.job, order.job.config.protocol.rounds)}
    return any(PASSES[name].timed for name in due)


def _counts(running: dict[str, queue.Waiting] | None, ids: Sequence[str]) -> tuple[int, int]:
    """Give how many of these jobs run and how many wait."""
    states = [found.state for job in ids if running is not None and (found := running.get(job)) is not None]
    waiting = states.count("PENDING")
    return len(states) - waiting, waiting
