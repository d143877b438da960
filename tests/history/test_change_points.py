"""Change points: made series whose steps are known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.history.change_points import MIN_POINTS, find_steps, noise_of


def _series(seed: int, levels: list[tuple[int, float]], noise: float = 0.01) -> list[float]:
    """Log-normal noise around each of (points, level)."""
    level = np.concatenate([np.full(points, value) for points, value in levels])
    return list(level * np.exp(noise * np.random.default_rng(seed).standard_normal(len(level))))


def test_white_noise_has_no_step():
    false = sum(bool(find_steps(_series(seed, [(40, 20.0)]))) for seed in range(100))
    assert false <= 1


@pytest.mark.parametrize("ratio", [1.05, 0.95])
def test_a_step_of_five_times_the_noise_is_found_in_its_place(ratio):
    found = 0
    for seed in range(100):
        steps = find_steps(_series(seed, [(20, 20.0), (20, 20.0 * ratio)]))
        found += len(steps) == 1 and abs(steps[0].index - 20) <= 2
    assert found >= 95


def test_a_step_is_seen_from_the_fourth_run_on():
    found = sum(bool(find_steps(_series(seed, [(36, 20.0), (4, 19.0)]))) for seed in range(100))
    assert found >= 95
    assert not any(find_steps([20.0] * 36 + [19.0] * points) for points in (1, 2, 3))


def test_two_steps_and_their_sizes():
    steps = find_steps(_series(0, [(15, 100.0), (15, 106.0), (15, 98.0)]))
    assert [step.index for step in steps] == [15, 30]
    assert steps[0].share == pytest.approx(0.06, abs=0.01)
    assert steps[1].share == pytest.approx(98 / 106 - 1, abs=0.01)
    assert steps[0].after == steps[1].before


def test_a_drift_is_a_staircase_of_one_direction():
    drift = np.linspace(100.0, 115.0, 48) * np.exp(0.01 * np.random.default_rng(0).standard_normal(48))
    steps = find_steps(list(drift))
    assert len(steps) >= 2
    assert all(step.after > step.before for step in steps)


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ([812.0] * 40, []),
        ([0.0] * 40, []),
        ([812.0] * 20 + [836.0] * 20, [(20, 812.0, 836.0)]),
        ([0.0] * 10 + [3.0] * 10, [(10, 0.0, 3.0)]),
        # Exact to the byte, and still no step worth a word.
        ([812.0] * 20 + [816.0] * 20, []),
        # A figure that has two values from run to run.
        ([812.0, 812.0, 850.0] * 12, []),
        ([1.0] * (MIN_POINTS // 2) + [2.0] * (MIN_POINTS // 2 - 1), []),
        ([1.0] * (MIN_POINTS // 2) + [2.0] * (MIN_POINTS // 2), [(4, 1.0, 2.0)]),
        ([], []),
    ],
    ids=[
        "constant",
        "zero",
        "exact step",
        "from zero",
        "half a percent",
        "two values",
        "seven points",
        "eight",
        "none",
    ],
)
def test_literal_series(values, steps):
    assert [(step.index, step.before, step.after) for step in find_steps(values)] == steps


@pytest.mark.parametrize("outlier", [0.5, 1.5, 10.0])
@pytest.mark.parametrize("place", [0, 1, 20, 39])
def test_a_single_outlier_is_no_step(outlier, place):
    values = _series(5, [(40, 20.0)])
    values[place] *= outlier
    assert find_steps(values) == []


def test_outliers_beside_a_step_do_not_hide_it():
    values = _series(1, [(20, 20.0), (20, 19.0)])
    values[8] *= 1.5
    values[33] *= 0.6
    assert [step.index for step in find_steps(values)] == [20]


def test_the_share_of_a_step_from_nothing_is_none():
    assert find_steps([0.0] * 10 + [3.0] * 10)[0].share is None


def test_the_noise_is_that_of_the_points_whatever_their_level():
    generator = np.random.default_rng(0)
    points = 0.01 * generator.standard_normal(400)
    points[200:] += 1.0
    points[50] += 5.0
    assert noise_of(points) == pytest.approx(0.01, rel=0.15)
