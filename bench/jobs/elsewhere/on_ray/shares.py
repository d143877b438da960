"""Which node of a Ray cluster may take a job, and what part of it. This module needs the standard library alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.jobs.job import PlannedJob, passes_due
from bench.schema.passes import PASSES

UNTIMED_CPUS = 4
"""CPUs of a job that times nothing and runs on them: enough for its model, and a node of 64 takes 16 such jobs."""


@dataclass(frozen=True)
class Node:
    """A node: its id in Ray, its name for a person, its CPUs and GPUs, and the kinds of the latter."""

    id: str
    name: str
    cpus: int
    gpus: int
    kinds: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Need:
    """What a job needs.

    gpu: whether it needs a GPU
    alone: whether nothing else may run on its node meanwhile
    cpus: how many CPUs it takes of a node that it shares
    """

    gpu: bool
    alone: bool
    cpus: int


@dataclass(frozen=True)
class Share:
    """A part of a node that a job has."""

    cpus: int
    gpus: int
    alone: bool


def need_of(job: PlannedJob, cpus_per_task: int | None) -> Need:
    """Give what is needed for what is left of a job: one that times anything has its node alone."""
    due = {*passes_due(job, 1), *(passes_due(job, job.config.protocol.rounds))}
    timed = any(PASSES[name].timed for name in due)
    return Need(job.config.device.startswith("cuda"), timed, cpus_per_task or UNTIMED_CPUS)


def share(need: Need, node: Node, taken: Sequence[Share]) -> Share | None:
    """Give the part of a node that a job gets beside those who have a part of it already; None where it gets none."""
    if node.cpus < 1 or (need.gpu and node.gpus < 1) or any(one.alone for one in taken) or (need.alone and taken):
        return None
    if need.alone:
        return Share(node.cpus, int(need.gpu), True)
    cpus = max(1, node.cpus // node.gpus) if need.gpu else min(need.cpus, node.cpus)
    fits = sum(one.cpus for one in taken) + cpus <= node.cpus
    fits = fits and sum(one.gpus for one in taken) + need.gpu <= node.gpus
    return Share(cpus, int(need.gpu), False) if fits else None


def choose(need: Need, nodes: Iterable[Node], taken: Mapping[str, Sequence[Share]]) -> tuple[Node, Share] | None:
    """Give the node with the most CPUs left that can take a job, and its part; a GPU is kept for who needs one."""
    found = [(node, part) for node in nodes if (part := share(need, node, taken.get(node.id, ()))) is not None]
    return min(found, key=lambda one: _rank(need, one[0], taken), default=None)


def _rank(need: Need, node: Node, taken: Mapping[str, Sequence[Share]]) -> tuple[bool, int, str]:
    free = node.cpus - sum(one.cpus for one in taken.get(node.id, ()))
    return node.gpus > 0 and not need.gpu, -free, node.id


def nodes_of(told: Iterable[Mapping[str, Any]], kind: str | None) -> list[Node]:
    """Give the nodes that are alive of what ``ray.nodes()`` tells.

    kind: of GPU; a GPU of another one does not count
    """
    alive = [entry for entry in told if entry["Alive"]]
    return [_node(entry, kind) for entry in sorted(alive, key=lambda entry: entry["NodeID"])]


def _node(told: Mapping[str, Any], kind: str | None) -> Node:
    resources = told.get("Resources", {})
    kinds = frozenset(name.partition(":")[2] for name in resources if name.startswith("accelerator_type:"))
    gpus = int(resources.get("GPU", 0)) if kind is None or kind in kinds else 0
    name = f"{told.get('NodeManagerHostname') or 'node'} ({told['NodeID'][:6]})"
    return Node(told["NodeID"], name, int(resources.get("CPU", 0)), gpus, kinds)
