"""Runs the jobs of a command as tasks of a Ray cluster; a job of a node that dies goes to another one."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.errors import UserError
from bench.jobs.elsewhere.archive import packed, unpack
from bench.jobs.elsewhere.asked import Asked, Order
from bench.jobs.elsewhere.node import Planned, read_planned
from bench.jobs.elsewhere.on_ray import tasks
from bench.jobs.elsewhere.on_ray.connection import connected
from bench.jobs.elsewhere.on_ray.shares import Need, Node, Share, choose, need_of, nodes_of
from bench.jobs.elsewhere.place import OnCounts, OnEnd, record_lost
from bench.jobs.job import ComposedJob
from bench.jobs.run import Run
from bench.jobs.status.board import at_work
from bench.schema.config import LauncherConfig
from bench.schema.result import EARLIER

_TICK_SECONDS = 0.5
_TRIES = 3
"""How many nodes may be lost under one job: the job itself may be what ends them."""

_NO_NODE_SECONDS = 60
"""How long the command waits for a node that can take a job where no job runs: a cluster may be growing."""

_LEAVE_SECONDS = 20
"""How long interrupted jobs may take to send what they measured."""


@dataclass(frozen=True)
class _Running:
    """A job at work: its number of nodes so far, its node, and the part of it that it has.

    told: is closed when it is at work no more, and then the board of the study does not say so
    """

    order: Order
    tries: int
    node: Node
    part: Share
    told: contextlib.ExitStack


class RayPlace:
    """See :class:`bench.jobs.elsewhere.place.Place`."""

    on_interrupt = "the jobs were stopped; what was measured is kept, and the same command with the same out= goes on"

    def __init__(self, launcher: LauncherConfig, run: Run, jobs: Sequence[ComposedJob]) -> None:
        self._launcher, self._out, self._say = launcher, run.out, run.say
        self._devices = {job.config.device for job in jobs}
        for device in self._devices:
            if device not in ("auto", "cpu", "cuda", "cuda:0"):
                raise UserError(
                    f"device={device}: a job of launcher=ray sees only the GPU that it is given; give device=cuda:0"
                )
        self._connection = contextlib.ExitStack()
        self._running: dict[Any, _Running] = {}

    def __enter__(self) -> RayPlace:
        self._ray = self._connection.enter_context(connected(self._launcher.address or "auto"))
        self._run_task = self._ray.remote(tasks.run_task)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def plan(self, asked: Asked) -> tuple[Planned, str]:
        """See :class:`bench.jobs.elsewhere.place.Place`; a node with a GPU plans, where a job may run on one."""
        nodes = self._nodes()
        needs_gpu = any(device.startswith("cuda") for device in self._devices)
        with_gpu = [node for node in nodes if node.gpus]
        if needs_gpu and not with_gpu:
            kind = f" of the kind {self._launcher.gpu}" if self._launcher.gpu else ""
            raise UserError(f"device=cuda:0: no node of the Ray cluster has a GPU{kind}; it has {_in_words(nodes)}")
        gpu = bool(with_gpu) and self._devices != {"cpu"}
        for node in with_gpu if gpu else nodes:
            if node.cpus < 1:
                continue
            options = self._options(node, Share(1, int(gpu), False))
            ref = self._ray.remote(tasks.plan_task).options(**options).remote(asked.to_json())
            with contextlib.suppress(*self._losses()):
                return read_planned(self._ray.get(ref), node.name), node.name
            self._say(f"{node.name} was lost while it planned; another node is asked")
        raise UserError(f"launcher=ray: no node of the cluster could plan the jobs; it has {_in_words(nodes)}")

    def run(self, orders: Sequence[Order], on_end: OnEnd, on_counts: OnCounts) -> None:
        """See :class:`bench.jobs.elsewhere.place.Place`."""
        if not orders:
            return
        here = self._ray.get_runtime_context().get_node_id()
        self._inbox = self._ray.remote(tasks.Inbox).options(**self._options_of(here), num_cpus=0).remote()
        # Jobs that need a node alone come first: those that share nodes would keep them from ever being free.
        waiting = [(order, 1) for order in orders]
        waiting.sort(key=lambda each: not self._need(each[0]).alone)
        idle_since = time.monotonic()
        try:
            while waiting or self._running:
                self._start(waiting)
                on_counts(len(self._running), len(waiting))
                if self._running:
                    idle_since = time.monotonic()
                elif time.monotonic() > idle_since + _NO_NODE_SECONDS:
                    return self._give_up(waiting, on_end)
                self._listen(waiting, on_end)
        except KeyboardInterrupt:
            self._stop()
            raise

    def _start(self, waiting: list[tuple[Order, int]]) -> None:
        """Start what a node has room for."""
        nodes = self._nodes() if waiting else []
        left: list[tuple[Order, int]] = []
        alone_waits = False
        for order, tries in waiting:
            need = self._need(order)
            found = None if alone_waits and not need.alone else choose(need, nodes, self._taken())
            if found is None:
                left.append((order, tries))
                alone_waits |= need.alone
                continue
            node, part = found
            before = self._before(order)
            task = self._run_task.options(**self._options(node, part))
            ref = task.remote(order.to_json(), before, self._inbox)
            told = contextlib.ExitStack()
            told.enter_context(at_work(order.job, node.name))
            self._running[ref] = _Running(order, tries, node, part, told)
        waiting[:] = left

    def _listen(self, waiting: list[tuple[Order, int]], on_end: OnEnd) -> None:
        """Take what has come within a moment."""
        if not self._running:
            time.sleep(_TICK_SECONDS)
            return
        done, _ = self._ray.wait(list(self._running), timeout=_TICK_SECONDS)
        self._take_in()
        for ref in done:
            running = self._running.pop(ref)
            running.told.close()
            order = running.order
            try:
                self._unpack(self._ray.get(ref), order)
            except self._losses():
                if running.tries < _TRIES:
                    self._say(f"{running.node.name} was lost; {order.job.config.model.name} goes to another node")
                    waiting.insert(0, (order, running.tries + 1))
                    continue
                record_lost(order.job, f"the node was lost, and {_TRIES - 1} others before it")
            except self._ray.exceptions.RayTaskError as error:
                record_lost(order.job, f"on the node: {str(error.cause).splitlines()[0]}")
            on_end(order, running.node.name)

    def _give_up(self, waiting: Sequence[tuple[Order, int]], on_end: OnEnd) -> None:
        for order, _ in waiting:
            record_lost(order.job, f"no node of the cluster can take it; it has {_counts(self._nodes())}")
            on_end(order, "no node")

    def _stop(self) -> None:
        """Interrupt all jobs as Ctrl-C does, and take what they have measured."""
        for ref, running in self._running.items():
            self._ray.cancel(ref, recursive=False)
            running.told.close()
        with contextlib.suppress(KeyboardInterrupt, *self._losses()):
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=_LEAVE_SECONDS)
            self._take_in()

    def _take_in(self) -> None:
        """Write what nodes have sent of jobs at work, so that it outlives the node."""
        orders = {running.order.job.folder.name: running.order for running in self._running.values()}
        for name, content in self._ray.get(self._inbox.take.remote()).items():
            if name in orders:
                self._unpack(content, orders[name])

    def _unpack(self, content: bytes, order: Order) -> None:
        """Write the folder of a job, and beside it those of earlier results that its node has moved aside."""
        unpack(content, self._out, _placed(self._out, order.job.folder.name))

    def _before(self, order: Order) -> bytes | None:
        name = order.job.folder.name
        return packed(self._out, f"jobs/{name}") if order.job.result_path.exists() else None

    def _need(self, order: Order) -> Need:
        return need_of(order.job, self._launcher.cpus_per_task)

    def _nodes(self) -> list[Node]:
        return nodes_of(self._ray.nodes(), self._launcher.gpu)

    def _taken(self) -> dict[str, list[Share]]:
        taken: dict[str, list[Share]] = {}
        for running in self._running.values():
            taken.setdefault(running.node.id, []).append(running.part)
        return taken

    def _options(self, node: Node, part: Share) -> dict[str, Any]:
        kind = {"accelerator_type": self._launcher.gpu} if self._launcher.gpu and part.gpus else {}
        return {
            "num_cpus": part.cpus,
            "num_gpus": part.gpus,
            "max_retries": 0,
            **kind,
            **self._options_of(node.id),
        }

    def _options_of(self, node_id: str) -> dict[str, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}

    def _losses(self) -> tuple[type[Exception], ...]:
        """Give the exceptions that say that a node, or our process on it, is gone: no fault of the task's own code."""
        from ray import exceptions

        return (
            exceptions.NodeDiedError,
            exceptions.WorkerCrashedError,
            exceptions.TaskUnschedulableError,
            exceptions.LocalRayletDiedError,
            exceptions.ObjectLostError,
            exceptions.OutOfMemoryError,
        )


def _placed(out: Path, name: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Give where the files of an archive of a job go: those of earlier results beside others of the same name."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    free = next(each for each in names if not (out / EARLIER / each).exists())

    def place(parts: tuple[str, ...]) -> tuple[str, ...]:
        if parts[:2] == ("jobs", name):
            return parts
        if parts[0] == EARLIER and len(parts) > 2:
            return (EARLIER, free, *parts[2:])
        raise ValueError(f"no file of the job {name}: {'/'.join(parts)!r:.80}")

    return place


def _in_words(nodes: Sequence[Node]) -> str:
    return "; ".join(f"{node.name}: {node.cpus} CPUs, {node.gpus} GPUs" for node in nodes) or "no nodes"


def _counts(nodes: Sequence[Node]) -> str:
    """Tell of nodes without their names, for a result, which is published."""
    return "; ".join(f"{node.cpus} CPUs, {node.gpus} GPUs" for node in nodes) or "no nodes"
