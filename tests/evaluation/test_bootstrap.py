"""The bootstrap against pycocotools on images that are really repeated; intervals against scipy; literal values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from evaluator_cases import Case, perturbed, scene, without
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.stats import quantile_test
from test_evaluators import by_the_api
from test_matching import matches_of

from bench.evaluation.average_precision import RECALLS, Ranking, average_precision, rankings
from bench.evaluation.bootstrap import (
    bootstrap,
    draws,
    holm,
    images_sha256,
    interval,
    paired_difference,
    paired_differences,
    resampled_ap,
)
from bench.evaluation.intervals import median_interval


def repeated(case: Case, times: np.ndarray) -> Case:
    """The images as often as ``times`` says, each copy with ids of its own and beside its fellows."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, count in zip(case.truth["images"], times, strict=True):
        for _ in range(int(count)):
            new = len(images) + 1
            images.append({**image, "id": new})
            for old, made in ((case.truth["annotations"], annotations), (case.results, results)):
                made += [{**entry, "image_id": new} for entry in old if entry["image_id"] == image["id"]]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    return Case({**case.truth, "images": images, "annotations": annotations}, results)


def with_ties_between_images(case: Case) -> Case:
    """Scores in steps of 0.1 where no other detection of the image and class has the same."""
    seen: set[tuple[int, int, float]] = set()
    results = []
    for result in case.results:
        key = (result["image_id"], result["category_id"], round(result["score"], 1))
        results.append({**result, "score": result["score"] if key in seen else key[2]})
        seen.add(key)
    return Case(case.truth, results)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_replicates_equal_pycocotools_on_repeated_images(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = without(scene(rng, images=7), lambda a: a["image_id"] == 15)
    case = with_ties_between_images(Case(truth, perturbed(rng, truth)))
    scores = [r["score"] for r in case.results]
    assert len(set(scores)) < len(scores) / 2
    [weights] = draws(7, 4, seed)
    found = resampled_ap(rankings(matches_of(case)), weights)
    for replicate, times in enumerate(weights.T):
        expected = by_the_api(repeated(case, times), COCO, COCOeval)["mask_ap"]
        assert found[replicate] == pytest.approx(expected, abs=1e-9)


def in_plain_steps(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Give AP at each threshold, step by step over all detections, in numbers that are added in the same order."""
    total = ranking.positives @ weights
    result = []
    for positive, ignored in zip(ranking.positive.T, ranking.ignored.T, strict=True):
        drawn = weights[ranking.image]
        true, seen = np.cumsum(drawn * positive[:, None], axis=0), np.cumsum(drawn * ~ignored[:, None], axis=0)
        precision = (true / (seen + np.spacing(1)))[positive]
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        reached = np.array(
            [
                [np.searchsorted(RECALLS, n / m, "right") if n else 0 for n, m in zip(row, total, strict=True)]
                for row in true[positive]
            ]
        )
        gained = np.diff(reached.astype(float), axis=0, prepend=0)
        result.append(np.einsum("dr,dr->r", envelope, gained) / 101)
    return np.array(result)


@pytest.mark.parametrize("sets", [1, 3, 40])
def test_ap_is_that_of_plain_steps_to_the_last_bit(sets: int) -> None:
    """Results of two versions are compared by their replicates, so that these must not differ by rounding."""
    rng = np.random.default_rng(sets)
    number, images = 700, 90
    positive = rng.random((number, 3)) < [0.9, 0.5, 0.01]
    ignored = (rng.random((number, 3)) < 0.1) & ~positive
    image = rng.integers(0, images, number)
    objects = np.bincount(image, minlength=images) + rng.integers(0, 2, images)  # each detection may have its own
    ranking = Ranking(image, positive, ignored, objects.astype(float))
    weights = np.ones((images, 1)) if sets == 1 else rng.poisson(1, (images, sets)).astype(float)
    assert np.array_equal(average_precision(ranking, weights), in_plain_steps(ranking, weights))


@pytest.mark.parametrize("number", [7, 29, 50, 57, 100])
def test_recall_points_that_no_fraction_reaches_exactly(number: int) -> None:
    """Recall 29 / 50 is the point 0.58 in exact numbers and not in pycocotools' floating point."""
    rng = np.random.default_rng(number)
    truth = scene(rng, images=1, classes=1, instances=1, crowds=0)
    image = truth["images"][0]
    truth["images"] = [{**image, "id": n + 1} for n in range(number)]
    truth["annotations"] = [{**truth["annotations"][0], "id": n + 1, "image_id": n + 1} for n in range(number)]
    mask = truth["annotations"][0]["segmentation"]
    results = [
        {"image_id": n + 1, "category_id": 2, "segmentation": mask, "score": 1 - n / number} for n in range(number)
    ]
    # Every second object is found, and of each object found a second time.
    case = Case(truth, results[::2] + [{**r, "score": r["score"] - 0.4 / number} for r in results[::2]])
    [ranking] = rankings(matches_of(case))
    found = average_precision(ranking, np.ones((number, 1)))
    expected = by_the_api(case, COCO, COCOeval)["mask_ap"]
    assert found[:, 0] == pytest.approx([expected] * 10, abs=1e-9)


@pytest.mark.parametrize("number", [6, 7, 10, 30, 31, 100, 999])
def test_interval_of_the_median_is_that_of_scipy(number: int) -> None:
    samples = np.random.default_rng(number).lognormal(size=number)
    expected = quantile_test(samples, p=0.5).confidence_interval()
    assert median_interval(samples.tolist()) == (expected.low, expected.high)


def test_interval_of_the_median_by_hand() -> None:
    """Of ten: P(B < 2) = 11 / 1024, P(B < 3) = 56 / 1024, so the second and the ninth. Of five even the extremes hold
    the median in 30 of 32 cases only."""
    assert median_interval([10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) == (2.0, 9.0)
    assert median_interval([1.0] * 5) is None
    assert median_interval([]) is None
    # Of 10,000: 5,000 - 1.96 x 50 = 4902 from below and from above.
    assert median_interval([float(n) for n in range(1, 10_001)]) == (4902.0, 5099.0)


def test_draws_are_the_same_everywhere() -> None:
    """The legacy generator's stream is frozen: from seed 0 it draws 0, 3, 1, 0 of four with every numpy."""
    assert next(draws(4, 1, seed=0))[:, 0].tolist() == [2.0, 1.0, 0.0, 1.0]
    one, other = next(draws(10, 50, seed=1)), next(draws(10, 50, seed=2))
    assert (one.sum(axis=0) == 10).all()
    assert (one != other).any()
    assert (np.concatenate(list(draws(10, 50, seed=1, at_once=7)), axis=1) == one).all()


def test_bootstrap_pairs_models_and_leaves_out_draws_without_objects() -> None:
    rng = np.random.default_rng(0)
    truth = without(scene(rng, images=3, crowds=0), lambda a: a["image_id"] != 5)
    perfect = Case(truth, [{**a, "score": 0.9} for a in truth["annotations"]])
    worse = Case(truth, perturbed(rng, truth))
    a, b = (bootstrap(matches_of(case), "annotations", [5, 15, 25], seed=0) for case in (perfect, worse))
    holding = int((next(draws(3, 1000, 0))[0] > 0).sum())
    assert holding < 1000
    assert a.mask_ap == pytest.approx([1.0] * holding)
    assert a.boundary_ap == pytest.approx([1.0] * holding)
    assert len(b.mask_ap) == holding
    assert a.images_sha256 == b.images_sha256 == images_sha256("annotations", [5, 15, 25])
    assert a.images_sha256 != images_sha256("annotations", [5, 15])
    assert a.images_sha256 != images_sha256("other annotations", [5, 15, 25])


def test_interval_is_of_percentiles_around_the_measured() -> None:
    values = [n / 1000 for n in range(1001)]
    assert interval(values, 0.5) == pytest.approx((0.025, 0.975))
    assert interval(values, 0.4) == pytest.approx((-0.075, 0.875))
    assert interval(values, 0.5, confidence=0.5) == pytest.approx((0.25, 0.75))


def test_paired_difference() -> None:
    a = [0.30 + n / 1000 for n in range(999)]
    assert paired_difference(a, [value - 0.02 for value in a]) == pytest.approx((0.02, 0.02, 0.02, 0.0))
    assert paired_difference(a, a) == pytest.approx((0.0, 0.0, 0.0, 1.0))
    # Differences -0.1, 0, ..., 0.7: mean 0.3, standard deviation sqrt(0.6 / 8); the tails are those of the normal
    # distribution's tables at 1.0954 and 2.0083 sigma.
    steps = [n / 10 for n in range(-1, 8)]
    found = paired_difference(steps, [0.0] * 9)
    assert found.difference == pytest.approx(0.3)
    assert found.p == pytest.approx(0.27332, abs=1e-5)
    moved = paired_difference(steps, [0.0] * 9, measured=0.55)
    assert moved.difference == pytest.approx(0.55)
    assert moved.p == pytest.approx(0.04461, abs=1e-5)
    with pytest.raises(ValueError, match="9 and 8"):
        paired_difference(steps, steps[1:])


def test_holm() -> None:
    """R's ``p.adjust(p, "holm")``; the first is the example of Wikipedia's article on the method."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.02]) == pytest.approx([1.0, 1.0, 0.06])
    assert holm([]) == []


@pytest.mark.parametrize("replicates", [1, 2, 3, 40, 41, 201, 1000])
def test_intervals_of_many_pairs_are_numpys_quantiles_to_the_last_digit(replicates: int) -> None:
    rng = np.random.default_rng(replicates)
    a, b = rng.normal(0.4, 0.01, (1, replicates)), rng.normal(0.39, 0.01, (7, replicates))
    measured = rng.normal(0.01, 0.001, 7)
    moved = a - b
    moved += (measured - moved.mean(axis=1))[:, None]
    moved += (measured - moved.mean(axis=1))[:, None]
    for confidence in (0.95, 0.6):
        tail = (1 - confidence) / 2
        expected = np.quantile(moved, [tail, 1 - tail], axis=1).T.tolist()
        found = paired_differences(a, b, measured, confidence)
        assert [[one.low, one.high] for one in found] == expected
