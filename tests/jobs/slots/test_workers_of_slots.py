"""Test the processes of slots: their GPU, their cores, and their end."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console
from slots_of_fakes import planned
from supervised import wait_for

from bench.device.slots.slot import Slot
from bench.errors import UserError
from bench.jobs import ask
from bench.jobs.job import ComposedJob
from bench.jobs.local import LocalLauncher
from bench.jobs.progress import StudyProgress
from bench.jobs.run import Run
from bench.jobs.run_job import run_job
from bench.jobs.slots.fit import fitted, too_little_time
from bench.jobs.slots.several import run_on_slots
from bench.jobs.slots.turns import Turns
from bench.schema.config import BenchConfig, GateConfig, ProtocolConfig
from bench.schema.result import read_result

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that pins")

CORE = sorted(os.sched_getaffinity(0))[-1] if hasattr(os, "sched_getaffinity") else 0
GPU = Slot("cuda:2", "cuda", (CORE,), "GPU-8f1d2c3b-0000-1111-2222-333344445555", "NVIDIA L4")

TELLS = """
import json, os, sys, time
folder, descriptor = sys.argv[-3], int(sys.argv[-2])
sys.stdin.readline()
told = {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "cores": sorted(os.sched_getaffinity(0)), "pid": os.getpid()}
open(folder + "/told", "w").write(json.dumps(told))
"""
COMPLETE = 'os.write(descriptor, b\'{"kind": "complete"}\\n\')'


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give a function that makes every worker a program of a few lines, which tells what it has first."""

    def make(does: str) -> None:
        script = tmp_path / "worker.py"
        script.write_text(f"{TELLS}{does}\n")
        monkeypatch.setattr(
            "bench.jobs.local.worker_command", lambda _, __, *told: [sys.executable, str(script), *told]
        )

    return make


def told(folder: Path) -> dict[str, Any]:
    """Give what the worker of a job has told."""
    found: dict[str, Any] = json.loads((folder / "told").read_text())
    return found


def test_a_worker_sees_the_gpu_of_its_slot_by_its_uuid_and_has_its_cores(
    works: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    works(COMPLETE)
    before = os.sched_getaffinity(0)
    job = planned(tmp_path / "job", passes=["flops"])
    assert run_job(job, ["flops"], LocalLauncher(GPU), lambda _: None).status == "ok"
    assert told(job.folder)["gpu"] == GPU.gpu
    assert told(job.folder)["cores"] == [CORE]
    run_job(job, ["flops"], LocalLauncher(), lambda _: None)
    assert told(job.folder)["gpu"] == "0,1,2"
    assert told(job.folder)["cores"] == sorted(before)
    assert os.sched_getaffinity(0) == before


def test_the_check_is_asked_on_a_slot_as_its_workers_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer says which GPU and how many cores the figures depend on: another one's would move results aside."""
    script = tmp_path / "check.py"
    script.write_text(
        "import json, os, sys\n"
        "told = [os.environ.get('CUDA_VISIBLE_DEVICES'), sorted(os.sched_getaffinity(0))]\n"
        f"open({str(tmp_path / 'told')!r}, 'w').write(json.dumps(told))\n"
        "lines = [{'kind': 'resolved', 'device': 'cuda:0'}, {'kind': 'verdict', 'status': 'ok'}]\n"
        "os.write(int(sys.argv[-1]), b''.join(json.dumps(line).encode() + b'\\n' for line in lines))\n"
    )
    monkeypatch.setattr(ask, "worker_command", lambda _, __, *told: [sys.executable, str(script), *told])
    [answer] = ask.ask_interpreters([planned(tmp_path / "job")], tmp_path / "check.log", GPU)
    assert answer.device == "cuda:0"
    assert json.loads((tmp_path / "told").read_text()) == [GPU.gpu, [CORE]]


@pytest.mark.parametrize("patient", [True, False])
def test_ctrl_c_ends_the_workers_of_all_slots_and_keeps_their_rows(
    patient: bool, works: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in the main thread, and the workers are listened to in others. A second one waits for no worker."""
    works(
        "time.sleep(60)" if patient else "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    )
    monkeypatch.setattr("bench.jobs.local._PATIENCE_SECONDS", 60)
    jobs = [planned(tmp_path / name, passes=["flops"]) for name in "abc"]
    slots = [Slot("one", "cpu"), Slot("two", "cpu")]
    this = Run(tmp_path, [], "", LocalLauncher(), Console(quiet=True), slots=slots)
    ended = threading.Event()

    def press() -> None:
        wait_for(lambda: all((job.folder / "told").exists() for job in jobs[:2]))
        os.kill(os.getpid(), signal.SIGINT)
        while not patient and not ended.wait(1):
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    presses = threading.Thread(target=press)
    presses.start()
    try:
        with StudyProgress(this.console, 3) as progress, pytest.raises(KeyboardInterrupt):
            run_on_slots(Turns(jobs, 1, this), this, progress)
        ended.set()
    finally:
        ended.set()
        presses.join()
        signal.signal(signal.SIGINT, handler)
    for job in jobs[:2]:
        assert not psutil.pid_exists(told(job.folder)["pid"])
        result = read_result(job.result_path)
        assert (result.status, result.reason) == ("failed", "interrupted")
    assert not jobs[2].result_path.exists()
    wait_for(lambda: not {"one", "two"} & {thread.name for thread in threading.enumerate()})


def job(**config: Any) -> ComposedJob:
    return ComposedJob(BenchConfig(**config), {})


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_a_job_has_the_device_that_a_slot_is_for_its_worker(device: str) -> None:
    """So a row has one name, whichever card it ran on, and the one that device=cuda:0 gives it."""
    [fit] = fitted([job(device=device)], [GPU])
    assert fit.config.device == "cuda:0"
    assert fitted([job(device=device)], [])[0].config.device == device


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"device": "cpu"}, "device=cpu: the slots of devices are of cuda; leave device out"),
        ({"device": "cuda:1"}, "device=cuda:1: the slots of devices are of cuda; leave device out"),
        ({"protocol": ProtocolConfig(pin=True)}, "protocol.pin=true: a worker on a slot is on its own cores already"),
        ({"gate": GateConfig(mode="interleaved")}, "gate=interleaved: times both sides in turn, in one place"),
    ],
)
def test_what_a_slot_cannot_give_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refused:
        fitted([job(), job(**config)], [GPU])
    assert str(refused.value).startswith(said)


def test_slots_with_more_cores_than_the_container_has_time_for_are_told() -> None:
    pair = [replace(GPU, name=name, cores=(0, 1, 2, 3)) for name in ("cuda:0", "cuda:1")]
    assert too_little_time(pair, 8.0) is None
    assert too_little_time(pair[:1], 2.0) is None
    assert too_little_time(pair, 6.5) == (
        "devices: the slots have 8 cores, and this container has computing time for 6.5: rows that run side by side "
        "slow each other down"
    )
