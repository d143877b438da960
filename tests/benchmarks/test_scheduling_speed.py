"""Measure what maskbench itself takes for a job of a long queue, whose workers do nothing.

Processor time is counted, since the machine may be busy with other work.
"""

from __future__ import annotations

import io
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from many_jobs import NoLauncher, replayed_jobs
from peaks import printed_by
from rich.console import Console

from bench.jobs.run import Run
from bench.jobs.study import run_study

JOBS = 1000
MOST_MS = 20
"""Milliseconds of processor time that planning and running take for a job in the command itself; 8 were measured."""
MOST_MS_OF_CHECK = 60
"""The same of the process that constructs the models, and imports torch once; 10 were measured."""
MOST_KILOBYTES = 60
"""Memory that a job more takes in the command: its configuration; 20 were measured."""


def _seconds() -> tuple[float, float]:
    own, of_others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, of_others.ru_utime + of_others.ru_stime


def test_a_job_of_a_queue_of_1000_takes_milliseconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """The second command finds the first one's results under other names, and must not compare each with each."""
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    jobs = replayed_jobs(tmp_path, JOBS)
    for name in ("empty_folder", "folder_with_other_results"):
        launcher, began = NoLauncher(), _seconds()
        assert run_study(jobs, Run(tmp_path / "out", [], "", launcher, Console(file=io.StringIO()))) == 0
        assert len(set(launcher.started)) == len(launcher.started) == JOBS
        own, of_check = (1000 * (now - then) / JOBS for now, then in zip(_seconds(), began, strict=True))
        record_property(f"milliseconds_a_job_{name}", round(own, 2))
        record_property(f"milliseconds_a_job_of_the_check_{name}", round(of_check, 2))
        assert own < MOST_MS, f"{own:.1f} ms a job"
        assert of_check < MOST_MS_OF_CHECK, f"{of_check:.1f} ms a job"
        for job in jobs:
            job.config.protocol.seed += JOBS


def test_memory_of_a_queue_is_that_of_its_configurations(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    peaks = []
    for count in (100, 700):
        folder = tmp_path / str(count)
        folder.mkdir()
        [peak] = printed_by(f"""
import io
from pathlib import Path
from many_jobs import NoLauncher, replayed_jobs
from peaks import peak_megabytes
from rich.console import Console
from bench.jobs.run import Run
from bench.jobs.study import run_study

folder = Path({str(folder)!r})
run = Run(folder / "out", [], "", NoLauncher(), Console(file=io.StringIO()))
assert run_study(replayed_jobs(folder, {count}), run) == 0
print(peak_megabytes())
""")
        peaks.append(peak)
    kilobytes = 1000 * (peaks[1] - peaks[0]) / 600
    record_property("kilobytes_a_job", round(kilobytes, 1))
    assert kilobytes < MOST_KILOBYTES
