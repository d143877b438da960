"""Test the marks of rows that must not be read as they stand: contradictions, a throttled GPU, random weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.schema.marks import Mark, marks, why_never_best
from bench.schema.parts.speed import GpuReadings, SpeedResult, SpeedRound, Timing
from bench.schema.result import Result
from bench.schema.row import Row
from reports.table.best.input_sizes import other_input_sizes


def row(model_ms: list[float], whole: list[float], gpu: GpuReadings | None = None, **config: Any) -> Result:
    count = len(model_ms)
    part, host = Timing([1.0] * count, "perf_counter"), Timing(whole, "perf_counter")
    speed = SpeedResult(
        1, [SpeedRound(count, 3.0, [], True, gpu=gpu)], Timing(model_ms, "cuda_event"), host, part, part, part,
        [1] * count, [[480, 640]] * count, [[480, 640]] * count,
    )  # fmt: skip
    settings = {"protocol": {"min_samples": 1}, "model": {"weights": "zoo"}, "detections": "thresholded"} | config
    return Result("ok", settings, speed=speed, machine={"gpu": {"power_limit_watts": 700.0}})


def names(result: Result) -> list[str]:
    return [mark.name for mark in marks(result)]


@pytest.mark.parametrize(
    ("faster", "marked"),
    [
        (6, True),  # of 6 batches all: by chance in 1 of 64
        (5, False),  # of 6 batches five: by chance in 7 of 64
    ],
)
def test_end_to_end_faster_than_the_model_inside_it_is_an_error(faster: int, marked: bool) -> None:
    result = row([20.0] * 6, [10.0] * faster + [21.0] * (6 - faster))
    assert ("contradiction" in names(result)) is marked
    assert ("error of measurement" in str(marks(result))) is marked
    assert bool(why_never_best(result)) is marked


def test_a_few_quick_batches_contradict_nothing() -> None:
    """Ten of 40 batches were quicker end to end, as others disturbed the others; on the whole it took longer."""
    assert names(row([20.0] * 40, [10.0] * 10 + [30.0] * 30)) == []
    assert names(row([20.0] * 40, [20.0] * 40)) == []
    # Less in sum, through one batch of the model that hung; in most batches end to end took longer.
    assert names(row([20.0] * 39 + [9000.0], [25.0] * 40)) == []


def readings(watts: list[float | None], throttled: dict[str, int], kept: bool) -> GpuReadings:
    return GpuReadings([], [], [], watts, throttled, 0, kept)


def test_throttled_batches_that_were_kept_are_told() -> None:
    [mark] = marks(row([20.0] * 6, [30.0] * 6, readings([], {"power cap": 3, "heat (software)": 0}, True)))
    assert mark.name == "throttled"
    assert "held down by power cap in 1 of 1 rounds" in mark.sentence
    assert names(row([20.0] * 6, [30.0] * 6, readings([], {"power cap": 3}, False))) == []  # they were left out
    assert names(row([20.0] * 6, [30.0] * 6, readings([], {}, True))) == []  # an interleaved round keeps all


@pytest.mark.parametrize(
    ("watts", "marked"), [([150.0, None, 155.0], True), ([349.9], True), ([350.0], False), ([], False)]
)
def test_a_gpu_that_draws_little_is_perhaps_host_bound(watts: list[float | None], marked: bool) -> None:
    result = row([20.0] * 6, [30.0] * 6, readings(watts, {}, False))
    assert (names(result) == ["host-bound?"]) is marked


def test_random_weights_are_told_with_what_their_speed_is_worth() -> None:
    random = {"model": {"weights": "random"}}
    [mark] = marks(row([20.0] * 6, [30.0] * 6, **random))
    assert (mark.name, mark.never_best) == ("random weights", False)
    assert "detections=saturated is fair" in mark.meaning
    [mark] = marks(row([20.0] * 6, [30.0] * 6, **random, detections="saturated"))
    assert "its speed is fair" in mark.meaning


def test_another_input_size_is_told_among_the_rows_that_are_compared() -> None:
    def sized(*size: int) -> Row:
        result = row([20.0] * 3, [30.0] * 3)
        assert result.speed is not None
        speed = dataclasses.replace(result.speed, input_sizes=[list(size)] * 3)
        return Row(Path("x/result.json"), dataclasses.replace(result, speed=speed))

    rows = [sized(288, 384), sized(288, 384), sized(320, 384), sized(480, 640), sized(480, 640)]
    found = other_input_sizes(rows, [[0, 1, 2, 3]])
    assert list(found) == [3]
    assert found[3] == Mark(
        "other input size",
        "its network saw images of 480x640 pixels, that of other rows 288x384",
        "its speed, memory and AP are at that size; input_size= gives all rows one, where a model can have it",
    )
    assert other_input_sizes(rows, [[0, 1], [3, 4]]) == {}
