"""Test that the parts of a row's seconds are what was done, and that they add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.jobs.job import PlannedJob, open_result
from bench.jobs.launcher import Ending
from bench.jobs.messages import Doing, decode, encode
from bench.jobs.process.parts import Parts
from bench.jobs.run_job import record_ending
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig
from bench.schema.result import ALL_SECONDS_PARTS, Result, read_result
from reports.page.seconds import seconds_table


def test_what_a_worker_does_while_nobody_listens_takes_no_time() -> None:
    now = 100.0
    parts = Parts(lambda: now)
    now = 107.0  # it starts and imports beside another worker
    parts.listen()
    assert parts.seconds == {"start": 0.0}
    now = 107.5
    parts.begin("import")  # it had sent this long before
    now = 109.5
    parts.begin("speed")
    now = 112.5
    parts.stop()
    now = 150.0
    parts.listen()
    now = 151.0
    assert parts.seconds == {"start": 0.5, "import": 2.0, "speed": 4.0}
    with pytest.raises(ValueError, match="no part of a worker's time: lunch"):
        parts.begin("lunch")


def test_a_message_of_a_part() -> None:
    assert decode(encode(Doing("flops", untimed=True))) == Doing("flops", untimed=True)
    with pytest.raises(ValueError, match="no message"):
        decode(b'{"kind": "doing", "part": 3}')


def test_parts_of_all_workers_add_up_to_the_seconds(tmp_path: Path) -> None:
    job = PlannedJob(BenchConfig(model=ModelConfig(name="m"), dataset=DatasetConfig(name="d")), {}, tmp_path)
    open_result(job)
    record_ending(job, Ending(True), 5.0, {"import": 3.0, "memory": 1.5})
    record_ending(job, Ending(False, "crashed", "it died"), 2.0, {"import": 2.0})
    result = read_result(job.result_path)
    assert result.seconds == 7.0
    assert result.seconds_by_part == {"import": 5.0, "memory": 1.5, "wait": 0.5}


def test_the_table_of_a_jobs_details() -> None:
    result = Result("ok", {}, seconds=10.0, seconds_by_part={"speed": 6.0, "import": 3.96, "end": 0.04})
    assert seconds_table(result) == [("imports of torch and the library", "4.0", "40"), ("speed", "6.0", "60")]
    assert seconds_table(Result("ok", {})) == []
    assert len(set(ALL_SECONDS_PARTS)) == len(ALL_SECONDS_PARTS)
