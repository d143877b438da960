"""Compare intervals of FPS with scipy's, and the spread between rounds with numbers by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.evaluation.intervals import fps_interval, median_reach
from bench.schema.parts.speed import GpuReadings, SpeedResult, SpeedRound, Timing
from reports.table.comparison import load
from reports.table.timing import rounds_text, spread_between_rounds, warm_up_text
from reports.text.conditions import conditions


def speed(*rounds: list[float], batch_size: int = 1, stable: bool = True) -> SpeedResult:
    nothing = Timing([], "perf_counter")
    samples = [ms for part in rounds for ms in part]
    return SpeedResult(
        batch_size,
        [SpeedRound(len(part), 99.0, [3.0, 2.0], stable) for part in rounds],
        Timing(samples, "perf_counter"),
        *[nothing] * 4,
        detections_per_image=[],
        image_sizes=[],
        input_sizes=[],
    )


def test_fps_interval_of_one_round_is_that_of_the_batches() -> None:
    samples = np.random.default_rng(0).normal(20, 2, 40).tolist()
    low, high = stats.t.interval(0.95, 39, np.mean(samples), stats.sem(samples))
    assert fps_interval(speed(samples, batch_size=4)) == pytest.approx((4000 / high, 4000 / low), rel=1e-12)


def test_rounds_that_lie_apart_widen_the_interval() -> None:
    """Batches are equal within rounds of 10, 11 and 12 ms: a deviation of 1 ms, times 4.303 / sqrt(3)."""
    low, high = fps_interval(speed([10.0] * 50, [11.0] * 50, [12.0] * 50))
    assert (1000 / low, 1000 / high) == pytest.approx((11 + 2.4841, 11 - 2.4841), abs=1e-3)


def test_two_rounds_say_too_little_of_their_scatter() -> None:
    samples = [10.0, 11.0] * 20
    assert fps_interval(speed(samples[:20], samples[20:])) == fps_interval(speed(samples))


def test_no_interval() -> None:
    assert fps_interval(speed([10.0])) is None
    assert fps_interval(speed([1.0, 100.0])) is None
    assert median_reach([10.0] * 5) is None


def test_spread_and_words() -> None:
    """Rounds of 100 and 80 FPS are 20 apart, of a mean of 90."""
    two = speed([10.0, 10.0], [12.5])
    assert spread_between_rounds(two) == pytest.approx(2 / 9)
    assert rounds_text(two) == "2, 22 % apart"
    assert (spread_between_rounds(speed([10.0])), rounds_text(speed([10.0]))) == (None, "1")
    assert median_reach([10.0] * 9 + [12.0]) == 0.0
    assert median_reach([9.0, 10.0, 10.0, 10.0, 10.0, 10.0, 11.0, 11.0, 12.0, 13.0]) == pytest.approx(0.2)
    assert warm_up_text(two) == "2 batches, until they took no less time"
    assert warm_up_text(speed([1.0], stable=False)) == "2 batches, still getting faster at its end"


def test_the_gpu_in_words(tmp_path: Any, make_result: Any, write_run: Any) -> None:
    result = make_result("A", model_ms=[9.0, 9.0, 9.0])
    readings = GpuReadings([1410, 1980], [2619] * 2, [54, None], [301.4, 655.6], {"heat": 1}, 2, False)
    result.speed.rounds[0].gpu = readings
    result.speed.model.wall_ms = [10.0] * 3  # events span the gaps between kernels: their share of it says nothing
    result.machine = {**result.machine, "gpu": {**result.machine["gpu"], "clocks_set_by_user": False}}
    facts = dict(conditions(load([write_run(tmp_path, [result])], tmp_path)))
    assert facts["GPU"] == (
        "1410 to 1980 MHz SM clock, 54 degrees C, 301 to 656 W, clocks not locked, 2 batches left out, timed while the "
        "GPU was throttled, throttled by heat"
    )
    assert not any("wall time" in text for text in facts.values())


@pytest.mark.parametrize(("gigabytes", "gpu"), [(3.79, 4), (3.81, 8), (22.7, 24), (79.0, None), (None, None)])
def test_the_gpu_it_fits_in(
    gigabytes: float | None, gpu: int | None, tmp_path: Any, make_result: Any, write_run: Any
) -> None:
    memory = {"process_device_bytes": None if gigabytes is None else int(gigabytes * 2**30)}
    comparison = load([write_run(tmp_path, [make_result("A", memory=memory)])], tmp_path)
    assert comparison.cell(0, "fits_in_gb") == gpu
