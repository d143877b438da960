"""Tests the ratio of paired batches: literal cases, scipy's bootstrap, and how often interval and p-value are right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.gate.batch_ratio import paired_batches
from bench.gate.rank_tests import paired

RNG = np.random.default_rng(0)
BASE = RNG.uniform(20, 60, 10) * np.ones((12, 1))
"""Twelve rounds of ten batches, of ten different images, without noise."""


def noisy(rng: np.random.Generator, rounds: int) -> np.ndarray:
    """Make times of a machine that others use too: heavy tails, and one batch in ten delayed by a third."""
    held_up = np.where(rng.random((rounds, 10)) < 0.1, rng.exponential(0.3, (rounds, 10)), 0)
    return BASE[0] * np.exp(0.02 * rng.standard_t(3, (rounds, 10)) + held_up)


def test_one_ratio_of_all_batches_is_exact() -> None:
    drift = np.linspace(1, 1.5, 12)[:, None]
    difference = paired_batches(BASE * drift, 1.1 * BASE * drift)
    assert difference[:3] == pytest.approx([math.log(1.1)] * 3)
    assert difference.p == 2 / 2**12


def test_a_change_of_some_images_counts_by_their_share() -> None:
    head = BASE.copy()
    head[:, :3] *= 1.2
    assert paired_batches(BASE, head).difference == pytest.approx(0.3 * math.log(1.2))
    assert paired_batches(BASE, head).p == 2 / 2**12


def test_delays_of_single_batches_move_nothing() -> None:
    head = BASE.copy()
    head[3, :] *= 4
    head[7, 2:5] *= 9
    difference = paired_batches(BASE, head)
    assert (difference.difference, difference.p) == (0.0, 1.0)


def test_equal_sides() -> None:
    assert paired_batches(BASE, BASE) == (0.0, 0.0, 0.0, 1.0)


def test_the_p_of_few_rounds_is_not_below_what_their_signs_allow() -> None:
    assert paired_batches(BASE[:6], 1.1 * BASE[:6]).p == 2 / 2**6


def test_the_interval_is_scipy_s() -> None:
    rng = np.random.default_rng(1)
    base, head = noisy(rng, 12), 1.03 * noisy(rng, 12)
    ratios = np.log(head / base)
    theirs = stats.bootstrap(
        (np.arange(12),),
        lambda rounds, axis: np.median(ratios[rounds], axis=axis if axis >= 0 else -2).mean(-1),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    difference = paired_batches(base, head)
    assert (difference.low, difference.high) == pytest.approx((theirs.low, theirs.high), abs=0.0015)


@pytest.mark.parametrize("rounds", [6, 12])
def test_equal_sides_are_called_different_no_more_often_than_promised(rounds: int) -> None:
    rng = np.random.default_rng(3)
    draws = [paired_batches(noisy(rng, rounds), noisy(rng, rounds)) for _ in range(100)]
    assert np.mean([d.p < 0.05 for d in draws]) <= 0.1
    assert np.mean([d.low <= 0 <= d.high for d in draws]) >= 0.9


def test_a_change_that_the_rounds_alone_do_not_show() -> None:
    rng = np.random.default_rng(4)
    pairs = [(noisy(rng, 12), 1.03 * noisy(rng, 12)) for _ in range(25)]
    assert np.mean([paired_batches(*pair).p < 0.05 for pair in pairs]) > 0.7
    by_round = [paired(*(np.log(side.mean(axis=1)) for side in pair)) for pair in pairs]
    assert np.mean([d.p < 0.05 for d in by_round]) < 0.4


@pytest.mark.parametrize(
    ("base", "head", "words"),
    [
        ([[1.0, 2.0]], [[1.0]], r"shapes \(1, 2\) and \(1, 1\)"),
        ([], [], "none of them 0"),
        ([[1.0]], [[0.0]], "above 0"),
        ([[1.0]], [[math.nan]], "finite"),
    ],
)
def test_sides_that_cannot_be_compared(base: list, head: list, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        paired_batches(base, head)
