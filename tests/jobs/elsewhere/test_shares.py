"""Tests of the rule by which the jobs of a command share the nodes of a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.jobs.elsewhere.on_ray.shares import Need, Node, Share, choose, need_of, nodes_of, share
from bench.jobs.job import PlannedJob
from bench.schema.config import BenchConfig, ProtocolConfig

CPUS = Node("a", "a", 16, 0)
GPUS = Node("b", "b", 16, 4)
UNTIMED, TIMED = Need(False, False, 4), Need(False, True, 4)
UNTIMED_GPU, TIMED_GPU = Need(True, False, 4), Need(True, True, 4)


def test_who_times_has_a_node_alone() -> None:
    assert share(TIMED, CPUS, []) == Share(16, 0, True)
    assert share(TIMED, CPUS, [Share(4, 0, False)]) is None
    assert share(UNTIMED, CPUS, [Share(16, 0, True)]) is None
    assert share(TIMED_GPU, GPUS, []) == Share(16, 1, True)
    assert share(UNTIMED_GPU, GPUS, [Share(16, 1, True)]) is None


def test_others_share_cpus_and_gpus() -> None:
    taken: list[Share] = []
    while (part := share(UNTIMED, CPUS, taken)) is not None:
        taken.append(part)
    assert taken == [Share(4, 0, False)] * 4
    taken = []
    while (part := share(UNTIMED_GPU, GPUS, taken)) is not None:
        taken.append(part)
    assert taken == [Share(4, 1, False)] * 4
    assert share(UNTIMED_GPU, CPUS, []) is None
    assert share(UNTIMED, Node("small", "small", 2, 0), []) == Share(2, 0, False)
    assert share(UNTIMED, Node("head", "head", 0, 0), []) is None


def test_the_freest_node_is_chosen_and_gpus_are_kept() -> None:
    other = Node("c", "c", 8, 0)
    assert choose(UNTIMED, [GPUS, other, CPUS], {}) == (CPUS, Share(4, 0, False))
    assert choose(UNTIMED, [GPUS, other, CPUS], {"a": [Share(12, 0, False)]}) == (other, Share(4, 0, False))
    assert choose(TIMED_GPU, [CPUS], {}) is None


def test_what_ray_tells_of_nodes() -> None:
    def told(name: str, alive: bool, **resources: float) -> dict[str, Any]:
        spelled = {key.replace("__", ":"): value for key, value in resources.items()}
        return {"NodeID": name * 8, "Alive": alive, "NodeManagerHostname": f"host-{name}", "Resources": spelled}

    cluster = [
        told("b", True, CPU=8.0, GPU=2.0, accelerator_type__H100=1.0),
        told("a", True, CPU=4.0),
        told("c", False, CPU=4.0),
    ]
    assert nodes_of(cluster, None) == [
        Node("a" * 8, "host-a (aaaaaa)", 4, 0),
        Node("b" * 8, "host-b (bbbbbb)", 8, 2, frozenset({"H100"})),
    ]
    assert [node.gpus for node in nodes_of(cluster, "A100")] == [0, 0]
    assert [node.gpus for node in nodes_of(cluster, "H100")] == [0, 2]


def test_what_is_left_of_a_job_says_what_it_needs(tmp_path: Path) -> None:
    def job(device: str, *passes: str) -> PlannedJob:
        config = BenchConfig(device=device, passes=list(passes), protocol=ProtocolConfig(rounds=2))
        return PlannedJob(config, {}, tmp_path / device)

    assert need_of(job("cpu", "accuracy", "memory"), None) == Need(False, False, 4)
    assert need_of(job("cpu", "accuracy", "speed"), 2) == Need(False, True, 2)
    assert need_of(job("cuda:0", "energy"), None) == Need(True, True, 4)
    assert need_of(job("cuda:0", "flops", "memory"), None) == Need(True, False, 4)
