"""By how much two sides differ that timed the same batches in turns: every batch is held against itself.

A machine that others use too holds up a batch here and there, by more than the change that is looked for. So each
batch counts with the median of its ratios over the rounds, and all batches alike: what slows some of the images moves
the mean over the batches by their share, what strikes a batch now and then moves nothing. Interval and p-value are
those of the percentile bootstrap over pairs of rounds (Efron & Tibshirani, An Introduction to the Bootstrap, chapter
13). Imports no torch.
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
    """The logarithm of how many times as long ``head`` takes.

    base_ms, head_ms: one row a round and one column a batch, the same on both sides; round n of the head was measured
        right before or after round n of the base.

    The p-value of n pairs of rounds is never below that of n tosses of a coin that all fall alike, 2 to the power of
    1 - n, nor below 2 / REPLICATES.

    Raises:
        ValueError: the sides are empty or of unequal shape, or a time is not above 0.
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
    p = 2 * min(np.mean(replicates <= 0), np.mean(replicates >= 0))
    least = max(2 / REPLICATES, 2.0 ** (1 - len(ratios)))
    return Difference(float(_typical(ratios)), float(low), float(high), min(1.0, max(least, float(p))))


def _typical(ratios: np.ndarray) -> np.ndarray:
    """Of ratios (..., rounds, batches)."""
    return np.asarray(np.median(ratios, axis=-2).mean(axis=-1))


def _replicates(ratios: np.ndarray) -> np.ndarray:
    """The same of as many pairs of rounds, drawn from those that there are, again and again."""
    draws = np.random.default_rng(_SEED).integers(0, len(ratios), (REPLICATES, len(ratios)))
    parts = np.array_split(draws, max(1, REPLICATES * ratios.size // _VALUES_AT_ONCE))
    return np.concatenate([_typical(ratios[part]) for part in parts])
