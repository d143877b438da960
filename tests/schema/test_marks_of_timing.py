"""Test the marks of rows that were timed beside other programs, or too little."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from bench.errors import UserError
from bench.schema.marks import Mark, marks
from bench.schema.parts.speed import GpuReadings, HostReadings, SpeedResult, SpeedRound, Timing
from bench.schema.result import Result, parse_result

PROTOCOLS = Path(__file__).resolve().parents[2] / "configs" / "protocol"
SLOWEST_DEMO_MS = 250
"""The median of the slowest model of the demo study on 2 cores, as README.md has it."""


def row(
    samples: list[int],
    *,
    disturbed: list[int] | None = None,
    dropped: int = 0,
    min_samples: int = 30,
    rounds: int = 1,
    others: float = 48.0,
) -> Result:
    """Give a row with rounds of so many samples, and of so many disturbed ones."""
    timing = Timing([10.0] * sum(samples), "perf_counter")
    parts = [SpeedRound(count, 3.0, [], True) for count in samples]
    for part, count in zip(parts, disturbed or [], strict=False):
        part.host = HostReadings([others], [0.0], count)
    if dropped:
        parts[0].gpu = GpuReadings([], [], [], [], {"power cap": 3}, dropped, False)
    sizes = [[4, 5]] * sum(samples)
    speed = SpeedResult(1, parts, timing, timing, timing, timing, timing, [1] * sum(samples), sizes, [])
    config = {"protocol": {"min_samples": min_samples, "rounds": rounds}, "model": {"weights": "zoo"}}
    return Result("ok", config, speed=speed)


def names(result: Result) -> list[str]:
    return [mark.name for mark in marks(result)]


def only(result: Result) -> Mark:
    [mark] = marks(result)
    return mark


@pytest.mark.parametrize(
    ("samples", "disturbed", "marked"),
    [
        ([30], [0], False),
        ([30], [15], False),
        ([30], [16], True),
        ([10, 10, 10], [10, 10, 0], True),
        ([10, 10, 10], [10, 0, 5], False),
        ([10, 20], [10], True),  # the second round could not be watched
        ([30], None, False),
    ],
)
def test_a_row_is_disturbed_where_most_of_its_batches_are(
    samples: list[int], disturbed: list[int] | None, marked: bool
) -> None:
    assert names(row(samples, disturbed=disturbed)) == ["disturbed"] * marked


def test_what_a_disturbed_row_says() -> None:
    mark = only(row([20, 20], disturbed=[20, 10]))
    assert mark.sentence == ("75 % of its batches were timed while other programs took the cores, 48 % of their time")
    assert "another out=" in mark.meaning
    assert mark.never_best


@pytest.mark.parametrize(
    ("others", "steal", "waited", "said"),
    [
        ([60.0, 50.0, 1.0, 0.0, 0.0], [0.0] * 5, [30.0, 20.0, 0.0, 0.0, 0.0], ", 55 % of their time"),
        ([60.0, 90.0], [0.0, 0.0], [30.0, 0.0], ", 60 % of their time"),  # 90 % of many cores, and nobody waited
        ([20.0, 1.0], [20.0, 1.0], [0.0, 0.0], ", 20 % of their time"),  # another machine took them
        ([40.0, 2.0], [0.0, 0.0], [], ", 40 % of their time"),  # the kernel does not tell who waited
        ([2.0, 1.0], [0.0, 0.0], [9.0, 9.0], ""),
    ],
    ids=["a quiet end", "idle cores", "stolen", "waiting unknown", "none counts"],
)
def test_the_share_is_that_of_the_readings_that_count_as_disturbed(
    others: list[float], steal: list[float], waited: list[float], said: str
) -> None:
    result = row([100], disturbed=[57])
    assert result.speed is not None
    result.speed.rounds[0].host = HostReadings(others, steal, 57, waited)
    assert only(result).sentence == f"57 % of its batches were timed while other programs took the cores{said}"


def test_a_row_with_as_many_samples_as_asked_for_has_no_mark() -> None:
    assert names(row([10, 10, 10], rounds=3)) == []
    assert names(row([10, 19], rounds=2)) == ["few samples"]


@pytest.mark.parametrize(
    ("result", "sentence", "remedy"),
    [
        (row([1]), "1 batch was timed, protocol.min_samples asks for 30", "; give more protocol.max_seconds"),
        (
            row([10], rounds=3),
            "10 batches were timed, protocol.min_samples asks for 30",
            "; 1 of 3 rounds were timed, and the same command with the same out= goes on",
        ),
        (
            row([24], dropped=6),
            "24 batches were timed, protocol.min_samples asks for 30",
            "; 6 more were left out, since power or heat throttled the GPU; let it cool, or lower its clocks",
        ),
        (
            row([5], dropped=2),
            "5 batches were timed, protocol.min_samples asks for 30",
            "give more protocol.max_seconds",
        ),
    ],
    ids=["one batch", "rounds still due", "throttled", "throttled and slow"],
)
def test_why_there_are_few_samples(result: Result, sentence: str, remedy: str) -> None:
    mark = only(result)
    assert (mark.name, mark.sentence, mark.never_best) == ("few samples", sentence, True)
    assert mark.meaning.endswith(remedy)


@pytest.mark.parametrize("protocol", ["demo", "quick"])
def test_the_protocols_of_a_quick_look_ask_for_no_more_than_their_time_allows(protocol: str) -> None:
    keys = yaml.safe_load((PROTOCOLS / f"{protocol}.yaml").read_text())
    batches = int(1000 * keys["max_seconds"] / SLOWEST_DEMO_MS)
    assert names(row([batches], min_samples=keys["min_samples"], rounds=keys["rounds"])) == []


def test_more_disturbed_batches_than_samples_are_refused() -> None:
    with pytest.raises(UserError, match=r"host\.disturbed_batches is 31, of 30 samples"):
        parse_result(json.dumps(dataclasses.asdict(row([30], disturbed=[31]))).encode(), "result.json")
