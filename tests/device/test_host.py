"""Test the watch of the host by literal counters, and beside busy processes of the test's own."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from bright_set import bright_set
from contexts import context_of
from toy_models import Blobs

from bench.device.host import Counters, HostWatch, _Reader, between
from bench.passes.speed import PASS
from bench.predictor import Settings
from bench.schema.config import BenchConfig, ProtocolConfig
from bench.schema.marks import marks
from bench.schema.result import Result

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what others do")


def reading(
    at: float,
    *,
    idle: float,
    own: float,
    busy: float | None = None,
    stolen: float = 0.0,
    waited: float | None = 0.0,
    container: tuple[float, int] | None = None,
    cores: int = 2,
) -> Counters:
    """Give counters since a moment at which all of them were 0; what is not idle or stolen is busy."""
    busy = cores * at - idle - stolen if busy is None else busy
    return Counters(at, idle, busy, stolen, own, None if waited is None else {1: waited}, container)


START = reading(0, idle=0, own=0, container=(0.0, 0))

CASES = {
    # two cores for one second: one is ours, the other idle
    "alone": (reading(1, idle=1.0, own=1.0), 2, None, 0.0, False),
    "alone on both cores": (reading(1, idle=0.0, own=2.0, waited=0.01), 2, None, 0.0, False),
    "more threads than cores": (reading(1, idle=0.0, own=2.0, waited=2.0), 2, None, 0.0, False),
    # two busy loops of others take half of both
    "others on every core": (reading(1, idle=0.0, own=1.0, waited=1.0), 2, None, 0.5, True),
    "others on the idle core": (reading(1, idle=0.0, own=1.0, waited=0.01), 2, None, 0.5, False),
    "others of low priority": (reading(1, idle=0.0, own=1.9, waited=0.1), 2, None, 0.05, False),
    "10 others on 64 cores": (reading(1, idle=53.0, own=1.0, waited=0.001, cores=64), 64, None, 10 / 64, False),
    "64 others on 64 cores": (reading(1, idle=0.0, own=0.5, waited=0.5, cores=64), 64, None, 63.5 / 64, True),
    # without schedstat, what counts is whether a core was free
    "no schedstat, idle cores": (reading(1, idle=53.0, own=1.0, waited=None, cores=64), 64, None, 10 / 64, False),
    "no schedstat, none idle": (reading(1, idle=0.0, own=1.0, waited=None), 2, None, 0.5, True),
    # another virtual machine takes what the process does not know to be missing
    "stolen": (reading(1, idle=0.0, own=1.4, stolen=0.6), 2, None, 0.3, True),
    "a little stolen": (reading(1, idle=0.9, own=1.0, stolen=0.1), 2, None, 0.05, False),
    # idle time was rounded down by two ticks on both cores: nobody was there
    "rounding of a short time": (reading(0.1, idle=0.06, own=0.1, waited=0.01), 2, None, 0.2, False),
    "rounding of a long time": (reading(0.4, idle=0.36, own=0.4, waited=0.1), 2, None, 0.05, False),
    "a short time beside much": (reading(0.1, idle=0.0, own=0.05, waited=0.1), 2, None, 0.75, True),
    # a container of 2 cores on a host of 64, 40 of which others use
    "held down to a quota by itself": (
        *(reading(1, idle=22.0, own=2.0, waited=30.0, container=(2.0, 10), cores=64), 64, 2.0),
        *(0.0, False),
    ),
    "others in the container": (
        *(reading(1, idle=22.0, own=1.0, waited=30.0, container=(2.0, 10), cores=64), 64, 2.0),
        *(0.5, True),
    ),
    "others outside hold it up": (
        *(reading(1, idle=0.0, own=1.0, waited=1.0, container=(1.0, 0), cores=64), 64, 2.0),
        *(63 / 64, True),
    ),
    "others outside do not": (
        *(reading(1, idle=22.0, own=1.0, waited=0.01, container=(1.0, 0), cores=64), 64, 2.0),
        *(41 / 64, False),
    ),
}


@pytest.mark.parametrize(("after", "cores", "quota", "others", "disturbed"), CASES.values(), ids=list(CASES))
def test_the_rule(after: Counters, cores: int, quota: float | None, others: float, disturbed: bool) -> None:
    interval = between(START, after, cores, quota)
    assert interval is not None
    assert (interval.others, interval.disturbed) == (pytest.approx(others), disturbed)


def test_counters_that_do_not_cover_the_time_are_no_basis() -> None:
    """A system that shows zeros (gVisor does) would else be one that others have wholly to themselves."""
    assert between(START, reading(1, idle=0, busy=0, own=0.5), 2) is None
    assert between(START, reading(0.004, idle=0, busy=0, own=0.004), 2) is None
    assert between(START, START, 2) is None


def test_threads_that_begin_and_end_between_two_readings() -> None:
    before = Counters(0, 0, 0, 0, 0, {1: 5.0, 2: 7.0})
    after = Counters(1, 0, 2, 0, 1, {1: 5.5, 3: 0.5})
    interval = between(before, after, 2)
    assert interval is not None
    assert interval.waited == 0.5


def test_every_batch_belongs_to_the_interval_that_it_ends_in() -> None:
    """A reading costs nothing here, so there is one every 0.4 s: at 0.4, 0.8 and at the end, at 1.0 s."""
    now = [0.0]
    waited = {0.0: 0.0, 0.4: 0.0, 0.8: 0.4, 1.0: 0.4}

    def read() -> Counters:
        at = now[0]
        others = 0.4 if at >= 0.8 else 0.0
        return reading(at, idle=at - others, own=at, waited=waited[at])

    watch = HostWatch(read, cores=[0, 1], clock=lambda: now[0])
    for tenth in range(1, 11):
        now[0] = tenth / 10
        watch.batch_ended()
    told = watch.readings()
    assert told is not None
    assert (told.others_percent, told.waited_percent) == ([0.0, 50.0, 0.0], [0.0, 50.0, 0.0])
    assert told.disturbed_batches == 4
    assert told.cores == [0, 1]


def test_batches_that_are_left_out_are_not_counted() -> None:
    now = [0.0]
    watch = HostWatch(lambda: reading(now[0], idle=0.0, own=now[0], waited=now[0]), cores=[0, 1], clock=lambda: now[0])
    for second in range(1, 6):
        now[0] = second
        watch.batch_ended()
    told = watch.readings([True, False, False, True, False])
    assert told is not None
    assert told.disturbed_batches == 3


def test_a_reading_that_costs_much_is_seldom_taken() -> None:
    """On a machine with hundreds of threads a reading may take 10 ms; then there is one a second."""
    now, taken = [0.0], []

    def read() -> Counters:
        now[0] += 0.01
        taken.append(now[0])
        return reading(now[0], idle=now[0], own=now[0])

    watch = HostWatch(read, cores=[0, 1], clock=lambda: now[0])
    for _ in range(300):
        now[0] += 0.01
        watch.batch_ended()
    assert len(taken) == 3
    assert min(after - before for before, after in itertools.pairwise(taken)) >= 1.0


def test_a_system_that_tells_nothing_has_no_readings() -> None:
    watch = HostWatch(lambda: None, cores=[0, 1])
    watch.batch_ended()
    assert watch.readings([False]) is None


def test_a_system_that_stops_telling_keeps_what_it_told() -> None:
    told = iter([START, reading(1, idle=0.0, own=1.0, waited=1.0), None])
    now = [0.0]
    watch = HostWatch(lambda: next(told, None), cores=[0, 1], clock=lambda: now[0])
    for second in range(1, 5):
        now[0] = second
        watch.batch_ended()
    kept = watch.readings([False] * 4)
    assert kept is not None
    assert (kept.others_percent, kept.disturbed_batches) == ([50.0], 1)


@pytest.fixture
def busy() -> Iterator[None]:
    """Run two busy processes for each core, which are not children of this one: their parent ends at once."""
    one = f"{shlex.quote(sys.executable)} -c 'while True: pass' >/dev/null 2>&1 & echo $!"
    script = "\n".join([one] * 2 * len(os.sched_getaffinity(0)))
    done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, check=True)
    time.sleep(0.3)
    yield
    for process in done.stdout.split():
        os.kill(int(process), signal.SIGKILL)


class Computes(Blobs):
    """Keeps a core busy for 20 ms a batch."""

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
        return super().forward(batch)


@linux
def test_a_row_beside_busy_processes_is_marked(tmp_path: Path, busy: None) -> None:
    protocol = ProtocolConfig(rounds=1, warmup_batches=0, min_samples=15, precision=1.0, max_seconds=20.0)
    model, dataset = Computes(Settings(torch.device("cpu"))), bright_set(tmp_path, 3)
    speed = PASS.measure(context_of(model, dataset, BenchConfig(protocol=protocol)))
    host = speed.rounds[0].host
    assert host is not None
    assert host.disturbed_batches == 15
    assert min(host.others_percent) > 30
    found = marks(Result("ok", {"protocol": {"min_samples": 15, "rounds": 1}}, speed=speed))
    [mark] = [mark for mark in found if mark.name == "disturbed"]
    assert mark.never_best
    assert mark.sentence.startswith("100 % of its batches were timed while other programs took the cores, ")


@linux
def test_counters_are_those_that_psutil_reads() -> None:
    """The processor time of a process has that of its child."""
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ntime.sleep(60)"
    read = _Reader(sorted(os.sched_getaffinity(0)), None)
    before = read()
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        after, times = read(), psutil.cpu_times(percpu=True)
        assert before is not None
        assert after is not None
        assert after.own - before.own >= 0.28
        cores = [times[core] for core in sorted(os.sched_getaffinity(0))]
        assert after.idle == pytest.approx(sum(core.idle + core.iowait for core in cores), abs=0.5)
        assert after.stolen == pytest.approx(sum(core.steal for core in cores), abs=0.5)
        child.kill()
        child.wait()
        ended = read()
        assert ended is not None
        assert ended.own - before.own >= 0.28  # now it is one of those that have ended
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@linux
def test_a_reading_takes_less_than_a_millisecond() -> None:
    read = _Reader(sorted(os.sched_getaffinity(0)), None)
    costs = []
    for _ in range(50):
        began = time.perf_counter()
        assert read() is not None
        costs.append(time.perf_counter() - began)
    assert min(costs) < 0.001
