"""Tests the rank tests: literal p-values, intervals of a published example, and how often they are right."""

from __future__ import annotations

import numpy as np
import pytest

from bench.gate.rank_tests import paired, unpaired


def test_complete_separation_has_the_least_p_there_is() -> None:
    """The p-values are 2 of C(12, 6) = 924 arrangements, and 2 of 2^12 patterns of signs."""
    apart = unpaired([1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16.5])
    assert apart.p == pytest.approx(2 / 924)
    assert unpaired([1, 2, 3, 4, 5], [11, 12, 13, 14, 15.5]).p == pytest.approx(2 / 252)
    side_by_side = paired(range(12), [10.0 + 1.01 * n for n in range(12)])
    assert side_by_side.p == pytest.approx(2 / 2**12)


def test_the_shift_and_its_interval_by_hand() -> None:
    """The 36 shifts of six against six go from 94 to 106; the interval ends at rank 6 from either end.

    The table for n = m = 6 at 5 % gives this rank: Mann-Whitney's critical U is 5.
    """
    base = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    head = [100.0 + value for value in base]
    shifts = sorted(h - b for h in head for b in base)
    difference = unpaired(base, head)
    assert (difference.difference, difference.low, difference.high) == (100.0, shifts[5], shifts[-6])


def test_pairs_interval_at_twelve_is_wilcoxon_s_table() -> None:
    """The critical sum for n = 12 at 5 % is 13, so the interval ends at the 14th Walsh average from either end."""
    differences = np.array([0.3, 1.1, -0.4, 2.2, 0.9, 1.7, 0.1, 1.3, -0.2, 0.8, 1.9, 0.6])
    walsh = sorted((differences[i] + differences[j]) / 2 for i in range(12) for j in range(i, 12))
    difference = paired(np.zeros(12), differences)
    assert difference.low == pytest.approx(walsh[13])
    assert difference.high == pytest.approx(walsh[-14])
    assert difference.difference == pytest.approx(np.median(walsh))


def test_darwin_s_maize() -> None:
    """The values are crossed minus self-fertilised plants, in eighths of an inch: Wilcoxon's own example.

    The exact two-sided p of the rank sum 24 of 15 pairs is 0.0413 (R, wilcox.test; corrected for ties 0.0427).
    """
    differences = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert paired([0.0] * 15, differences).p == pytest.approx(0.0413, abs=1e-4)


def test_a_drift_affects_both_of_a_pair() -> None:
    """Where a machine slows down by 20 % over the rounds, only pairs show the 1 % between the sides."""
    noise = np.random.default_rng(0).normal(0, 0.001, (2, 12))
    drift = np.linspace(0, 0.2, 12)
    base, head = drift + noise[0], drift + noise[1] + 0.01
    assert unpaired(base, head).p > 0.3
    assert paired(base, head).p < 0.001
    assert paired(base, head).difference == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize("rounds", [6, 12])
@pytest.mark.parametrize("compare", [unpaired, paired])
def test_equal_sides_are_called_different_no_more_often_than_promised(compare: object, rounds: int) -> None:
    rng = np.random.default_rng(1)
    draws = [compare(*rng.normal(0, 1, (2, rounds))) for _ in range(600)]  # type: ignore[operator]
    assert np.mean([d.p < 0.05 for d in draws]) <= 0.07
    assert np.mean([d.low <= 0 <= d.high for d in draws]) >= 0.92


def test_nothing_differs() -> None:
    assert paired([1.0] * 6, [1.0] * 6) == (0.0, 0.0, 0.0, 1.0)
    assert unpaired([1.0] * 6, [1.0] * 6).p == 1.0


def test_sides_that_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="3 and 2 values"):
        paired([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        unpaired([], [1.0])
