"""Tests that a worker of an interleaved gate is believed only as far as its result goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate.interleaved import WorkerDiedError, _RoundsWorker
from bench.jobs.job import PlannedJob
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig
from bench.schema.result import read_result


class _SaysReady:
    """A worker without a process, which says that it has timed a round, and has not; it may lose its result too."""

    complete = False

    def __init__(self, loses: Path | None) -> None:
        self.loses = loses

    @property
    def seconds_by_part(self) -> dict[str, float]:
        return {}

    def __enter__(self) -> _SaysReady:
        return self

    def __exit__(self, *_: object) -> None: ...

    def tell(self, line: str) -> None: ...

    def tell_no_more(self) -> None: ...

    def listen(self, *_: object) -> None:
        if self.loses is not None:
            self.loses.unlink()


class _Launcher:
    def __init__(self, loses: bool) -> None:
        self.loses = loses

    def start(self, job: PlannedJob, phase: str) -> _SaysReady:
        return _SaysReady(job.result_path if self.loses else None)


@pytest.mark.parametrize(
    ("loses", "reason"),
    [(False, "the worker has said that it timed a round"), (True, "the worker has lost its result")],
)
def test_a_round_that_is_in_no_result_is_a_crash(tmp_path: Path, loses: bool, reason: str) -> None:
    job = PlannedJob(BenchConfig(model=ModelConfig(name="m"), dataset=DatasetConfig(name="d")), {}, tmp_path / "job")
    with pytest.raises(WorkerDiedError), _RoundsWorker(job, _Launcher(loses), lambda _: None) as worker:
        worker.time_round(None)
    result = read_result(job.result_path)
    assert result.status == "crashed"
    assert (result.reason or "").startswith(reason)
