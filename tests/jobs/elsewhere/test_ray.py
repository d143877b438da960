"""Tests of ``launcher=ray`` with a real cluster on this machine: nodes of one CPU, of which some are killed."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOYS = ROOT / "tests" / "toys"
SHIFTS = range(6)

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed")


@pytest.fixture(scope="module")
def halt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models halt, see :mod:`halting`."""
    return tmp_path_factory.mktemp("halt")


@pytest.fixture(scope="module")
def cluster(environment: dict[str, str], halt: Path) -> Iterator[Any]:
    """A cluster whose head has no CPU, so that no job runs on the node that must live, and two nodes of one CPU."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MASKBENCH_CACHE", "OMP_NUM_THREADS"):
            patch.setenv(name, environment.get(name, "1"))
        patch.setenv("MASKBENCH_TEST_HALT", str(halt))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        small = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
        try:
            made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
        except Exception as error:  # a container may forbid what its processes need
            pytest.skip(f"Ray is installed and does not start here: {type(error).__name__}: {error}")
        try:
            for _ in range(2):
                made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
            made.wait_for_nodes()
            yield made
        finally:
            made.shutdown()


@pytest.fixture(autouse=True)
def fresh(cluster: Any, halt: Path) -> None:
    """Have two nodes of one CPU at the start of a test, and models that halt: an earlier one has killed a node."""
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    for path in halt.iterdir():
        path.unlink()


@pytest.fixture
def start(cluster: Any, environment: dict[str, str], bright_squares: list[str], tmp_path: Path) -> Callable[..., Any]:
    """Start a command in an empty folder, with the arguments of the bright squares."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "run_bench.py"), *arguments, *bright_squares]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)

    return start


def _on(cluster: Any) -> list[str]:
    return ["launcher=ray", f"launcher.address={cluster.address}", "launcher.cpus_per_task=1"]


def _results(out: Path) -> list[Any]:
    return [json.loads(path.read_text()) for path in out.glob("jobs/*/result.json")]


def _wait(condition: Callable[[], object], running: subprocess.Popen[str], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _kill_node_of(reached: Path, cluster: Any) -> None:
    """Kill the node that a model has halted on, as a machine whose power fails, and put another in its place."""
    raylet = int(json.loads(reached.read_text())["raylet"])
    [node] = [node for node in cluster.worker_nodes if _raylet(node) == raylet]
    cluster.remove_node(node, allow_graceful=False)


def _raylet(node: Any) -> int:
    [process] = node.all_processes["raylet"]
    return int(process.process.pid)


def _accuracies(results: list[Any]) -> dict[int, Any]:
    """Give all of the accuracy of each row but how long it took."""
    kept = {r["config"]["model"]["options"]["shift"]: r["accuracy"] for r in results}
    return {shift: {k: v for k, v in each.items() if not k.endswith("seconds")} for shift, each in kept.items()}


@pytest.mark.flaky(reruns=3)  # two raylets and a dozen processes, on as few cores as there are
def test_a_node_that_is_killed(cluster: Any, start: Callable[..., Any], halt: Path, tmp_path: Path) -> None:
    shifts = ",".join(str(shift) for shift in SHIFTS)
    target = f"model._target_={TOYS / 'halting.py'}:Shifted"
    rows = ["model=custom", target, "model.weights=own", f"model.options.shift={shifts}", "passes=[accuracy]"]
    out, local = tmp_path / "out", tmp_path / "local"
    running = start(*rows, f"out={out}", *_on(cluster))
    _wait((halt / "shifted.reached").exists, running)
    _kill_node_of(halt / "shifted.reached", cluster)
    (halt / "open").touch()
    said, errors = running.communicate(timeout=300)
    assert running.returncode == 0, said + errors
    assert "was lost; Shifted goes to another node" in said
    alone = start(*rows, f"out={local}")
    assert alone.communicate(timeout=300)
    here, there = _results(local), _results(out)
    assert [result["status"] for result in there] == ["ok"] * 6
    assert sorted(_accuracies(there)) == list(SHIFTS)
    assert _accuracies(there) == _accuracies(here)
    assert len({json.dumps(each["figures"]) for each in _accuracies(here).values()}) == 5  # shifts 0 and 1 have one AP
    assert {path.name for path in out.glob("jobs/*")} == {path.name for path in local.glob("jobs/*")}
    for path in out.glob("jobs/*/predictions.json"):
        assert path.read_bytes() == (local / "jobs" / path.parent.name / path.name).read_bytes()
    assert (out / "comparison.html").exists()
    for path in out.glob("jobs/*/result.json"):
        assert platform.node() not in path.read_text()
        assert cluster.address not in path.read_text()


@pytest.mark.flaky(reruns=3)
def test_what_was_measured_on_a_lost_node_is_kept(
    cluster: Any, start: Callable[..., Any], halt: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    target = f"model._target_={TOYS / 'halting_torch.py'}:HaltsSecond"
    running = start(
        "model=custom",
        target,
        "model.weights=random",
        "passes=[memory,speed]",
        "protocol=quick",
        f"out={out}",
        *_on(cluster),
    )
    _wait((halt / "second.reached").exists, running)
    _wait(lambda: [r for r in _results(out) if r["memory"]], running)
    [before] = _results(out)
    assert before["speed"] is None
    _kill_node_of(halt / "second.reached", cluster)
    (halt / "open").touch()
    said, errors = running.communicate(timeout=300)
    assert running.returncode == 0, said + errors
    [after] = _results(out)
    assert after["status"] == "ok"
    assert after["speed"] is not None
    assert after["memory"] == before["memory"]
    assert after["seconds"] > before["seconds"]
