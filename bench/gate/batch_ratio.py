"""The difference between two sides whose rounds were interleaved: every batch is compared with itself.

On a machine that others use too, single batches are delayed by more than the change that a gate looks for. So each
batch counts with the median of its ratios over the rounds, and all batches count alike. A change that slows some of the
images then moves the mean over the batches by their share, and a delay of single batches moves nothing. Interval and
p-value are those of the percentile bootstrap over pairs of rounds (Efron & Tibshirani, An Introduction to the
Bootstrap, chapter 13). Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.evaluation.bootstrap import Difference
from bench.evaluation.intervals import CONFIDENCE

REPLICATES = 10_000
_SEED = 0
_VALUES_AT_ONCE = 2**21


def paired_batches(
    base_ms: Sequence[Sequence[float]], head_ms: Sequence[Sequence[float]], confidence: float = CONFIDENCE
) -> Difference:
    """Give the logarithm of (time of ``head``) / (time of ``base``).

    base_ms, head_ms: milliseconds (rounds, batches), the same batches on both sides; round n of the head was timed
        right before or after round n of the base

    The p-value is never below :func:`least_p`.

    Raises:
        ValueError: the sides are empty or differ in shape, or a time is not above 0.
    """
    base, head = np.asarray(base_ms, dtype=np.float64), np.asarray(head_ms, dtype=np.float64)
    if base.ndim != 2 or base.shape != head.shape or not base.size:
        raise ValueError(f"shapes {base.shape} and {head.shape}, must be the same (rounds, batches), none of them 0")
    if not (np.isfinite(base).all() and np.isfinite(head).all() and base.min() > 0 and head.min() > 0):
        raise ValueError("times must be finite and above 0")
    ratios = np.log(head) - np.log(base)
    if not ratios.any():
        return Difference(0.0, 0.0, 0.0, 1.0)
    replicates = _replicates(ratios)
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    p = 2 * float(min(np.mean(replicates <= 0), np.mean(replicates >= 0)))
    p = min(1.0, max(least_p(len(ratios)), p))
    return Difference(float(_typical(ratios)), float(low), float(high), p)


def least_p(pairs: int) -> float:
    """Give the least p-value of a number of pairs of rounds.

    It is 2 to the power of 1 - n, the probability that n tosses of a coin all fall alike, and not below 2 / REPLICATES.
    """
    return max(2 / REPLICATES, 2.0 ** (1 - pairs))


def _typical(ratios: np.ndarray) -> np.ndarray:
    """Give the mean over batches of the median over rounds, for ratios (..., rounds, batches)."""
    return np.asarray(np.median(ratios, axis=-2).mean(axis=-1))


def _replicates(ratios: np.ndarray) -> np.ndarray:
    """Give :func:`_typical` for REPLICATES samples of pairs of rounds, drawn with replacement."""
    draws = np.random.default_rng(_SEED).integers(0, len(ratios), (REPLICATES, len(ratios)))
    parts = np.array_split(draws, max(1, REPLICATES * ratios.size // _VALUES_AT_ONCE))
    return np.concatenate([_typical(ratios[part]) for part in parts])
