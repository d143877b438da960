"""Time the bootstrap at the size of COCO val2017: 5,000 images, 80 categories, 36,700 objects, 180,000 detections."""

from __future__ import annotations

import time

import numpy as np
import pytest

from bench.evaluation.average_precision import rankings
from bench.evaluation.bootstrap import draws, resampled_ap
from bench.evaluation.matching import AREA_RANGES, IOU_THRESHOLDS, Matches, packed

IMAGES, CATEGORIES, OBJECTS, DETECTIONS = 5000, 80, 36_700, 180_000
REPLICATES = 40


@pytest.fixture(scope="module")
def matches() -> Matches:
    """Give matches in which three in five objects are detected, and a few categories have most of the objects."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, CATEGORIES + 1)
    object_category = rng.choice(CATEGORIES, OBJECTS, p=share / share.sum()).astype(np.int32)
    object_image = rng.integers(0, IMAGES, OBJECTS).astype(np.int32)
    others = DETECTIONS - OBJECTS
    category = np.concatenate([object_category, rng.choice(CATEGORIES, others, p=share / share.sum()).astype(np.int32)])
    image = np.concatenate([object_image, rng.integers(0, IMAGES, others).astype(np.int32)])
    reached = np.where(rng.random(OBJECTS) < 0.6, rng.integers(1, len(IOU_THRESHOLDS) + 1, OBJECTS), 0)
    reached = np.concatenate([reached, np.zeros(others, np.int64)])
    score = np.clip(rng.normal(0.2 + 0.05 * reached, 0.2), 0.01, 0.99)
    crowded = (reached == 0) & (rng.random(DETECTIONS) < 0.02)
    shape = (DETECTIONS, len(AREA_RANGES), len(IOU_THRESHOLDS))
    ignored = np.broadcast_to(crowded[:, None, None], shape)
    matched = np.broadcast_to((reached[:, None] > np.arange(len(IOU_THRESHOLDS)))[:, None], shape) | ignored
    matched, ignored = packed(matched), packed(ignored)
    return Matches(
        images=IMAGES,
        categories=CATEGORIES,
        category=category,
        image=image,
        score=score,
        matched=matched,
        ignored=ignored,
        by_boundary=np.stack([matched, ignored]),
        iou=np.full(DETECTIONS, np.nan),
        error=np.zeros(DETECTIONS, np.uint8),
        mended=np.full(DETECTIONS, -1, np.int32),
        object_category=object_category,
        object_image=object_image,
        object_ignored=np.zeros((OBJECTS, len(AREA_RANGES)), bool),
        object_missed=np.zeros(OBJECTS, bool),
        object_cut=np.full(OBJECTS, np.nan),
        alike=0,
        alike_if=np.zeros(0, np.int64),
    )


def test_a_thousand_replicates_take_less_than_90_seconds_on_two_cores(matches: Matches) -> None:
    """Processor time is counted, since other work may share the machine; it grows with the replicates alone."""
    start = time.process_time()
    ranked = rankings(matches)
    [weights] = draws(IMAGES, REPLICATES, seed=0)
    aps = resampled_ap(ranked, weights, threads=2)
    seconds = (time.process_time() - start) * 1000 / REPLICATES
    assert len(aps) == REPLICATES
    assert 0.05 < min(aps) < max(aps) < 0.95
    assert seconds < 90, f"{seconds:.0f} s of one core for 1,000 replicates"


@pytest.mark.benchmark(group="40 bootstrap replicates at the size of COCO val2017")
@pytest.mark.parametrize("threads", [1, 2])
def test_time(benchmark: object, matches: Matches, threads: int) -> None:
    [weights] = draws(IMAGES, REPLICATES, seed=0)
    benchmark.pedantic(resampled_ap, (rankings(matches), weights, threads), rounds=3)  # type: ignore[attr-defined]
