"""Tests that result.json is read back as it was written, and that other files are refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.schema.parts.costs import MemoryResult
from bench.schema.parts.speed import SpeedResult, SpeedRound, Timing
from bench.schema.result import ModelInfo, Result, parse_result, read_result, write_result


def full() -> Result:
    timing = Timing([1.5, 2.25], "perf_counter")
    return Result(
        status="ok",
        config={"model": {"name": "m"}},
        model=ModelInfo(["a", "b"], "random", parameters=7),
        memory=MemoryResult(28, 0, host_rss_bytes=10**9, host_rss_source="process_peak"),
        speed=SpeedResult(
            batch_size=1,
            rounds=[SpeedRound(2, 3.0, [1.75, 1.5], True)],
            model=Timing([1.5, 2.25], "cuda_event", [1.6, 2.3]),
            end_to_end=timing,
            preprocess=timing,
            network=timing,
            postprocess=timing,
            detections_per_image=[3, 0],
            image_sizes=[[4, 5], [6, 7]],
            input_sizes=[[8, 8], [8, 8]],
        ),
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_result(full(), tmp_path / "deep" / "result.json")
    assert read_result(tmp_path / "deep" / "result.json") == full()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["result.json"]
    raw = json.loads((tmp_path / "deep" / "result.json").read_text())
    assert raw["schema_version"] == 3
    assert raw["speed"]["model"]["latency_ms"] == [1.5, 2.25]
    assert raw["accuracy"] is None


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(full(), path)
    unwritable = full()
    assert unwritable.speed is not None
    unwritable.speed.rounds[0].first_call_ms = math.nan  # not JSON
    with pytest.raises(ValueError, match="JSON"):
        write_result(unwritable, path)
    assert read_result(path) == full()
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def change(**changes: Any) -> dict[str, Any]:
    return {"schema_version": 3, "status": "ok", "config": {}, **changes}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ["not JSON"]),
        ("[]", ["schema_version None"]),
        (json.dumps(change(schema_version=9)), ["schema_version 9", "reads 3"]),
        (json.dumps(change(statsu="ok")), ["unknown key 'statsu'"]),
        (json.dumps(change(status="fine")), ["'fine'", "ok, failed"]),
        (json.dumps(change(memory={"parameters_bytes": 1})), ["buffers_bytes"]),
    ],
)
def test_what_is_not_ours_is_refused(tmp_path: Path, content: str, words: list[str]) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_result(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_what_is_not_ours_in_a_history_is_named_as_what_it_would_have_to_be() -> None:
    with pytest.raises(UserError) as caught:
        parse_result(b'{"schema_version": 9}', "history, job-a")
    assert str(caught.value) == (
        "history, job-a: schema_version 9, this maskbench reads 3; give a result.json of this version"
    )


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_result(tmp_path / "result.json")
