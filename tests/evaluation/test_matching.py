"""Our matching, and AP from it, against pycocotools' and hotcoco's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluator_cases import CASES, NOTHING_TO_FIND, Case, perturbed, scene
from figures_from_matches import coco_figures, per_class
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from test_evaluators import by_the_api, counted_from_1

from bench.data.dataset import CocoDataset, from_coco
from bench.evaluation.evaluators import EVALUATORS
from bench.evaluation.matching import Matcher, Matches, match, packed, unpacked


def dataset_of(case: Case) -> CocoDataset:
    return from_coco("case", case.truth, Path("images"), Path("truth.json"), sha256="")


def matches_of(case: Case, backwards: bool = False) -> Matches:
    dataset = dataset_of(case)
    matcher = Matcher(dataset)
    for image in dataset.images[:: -1 if backwards else 1]:
        matcher.update(image.id, [r for r in case.results if r["image_id"] == image.id])
    return matcher.matches()


def doubled_objects(rng: np.random.Generator) -> Case:
    """Every object twice, one of the two a crowd here and there: equal IoU with several objects at once."""
    truth = scene(rng, images=6)
    again = [
        {**a, "id": 1000 + a["id"], "iscrowd": int(rng.random() < 0.5), "area": a["area"] * rng.choice([0.1, 1, 20])}
        for a in truth["annotations"]
    ]
    whole = {**truth, "annotations": truth["annotations"] + again}
    return Case(whole, perturbed(rng, whole))


@pytest.mark.parametrize("name", [name for name in [*CASES, "doubled objects"] if name != "shapes"])  # slow to draw
def test_figures_equal_pycocotools(name: str) -> None:
    make = CASES.get(name, doubled_objects)
    case = make(np.random.default_rng(1))
    from_1 = counted_from_1(case) if name == "annotation 0" else case
    expected = by_the_api(from_1, COCO, COCOeval)
    if name in NOTHING_TO_FIND:
        assert set(expected.values()) == {None}
    elif case.results:
        assert 0.1 < expected["mask_ap"] < 0.9
    wanted = {key: value if value is None else pytest.approx(value, abs=1e-9) for key, value in expected.items()}
    for backwards in (False, True):
        matches = matches_of(case, backwards)
        assert coco_figures(matches) | per_class(matches, dataset_of(case).class_names) == wanted


def test_figures_equal_hotcoco() -> None:
    case = Case(truth := scene(np.random.default_rng(2), images=12), perturbed(np.random.default_rng(3), truth))
    dataset = dataset_of(case)
    theirs = EVALUATORS["hotcoco"](dataset)
    for image in dataset.images:
        theirs.update(image.id, [r for r in case.results if r["image_id"] == image.id])
    figures, classes = theirs.figures()
    matches = matches_of(case)
    assert coco_figures(matches) == {k: v if v is None else pytest.approx(v, abs=1e-9) for k, v in figures.items()}
    assert per_class(matches, dataset.class_names) == pytest.approx(classes, abs=1e-9)


def test_match_by_hand() -> None:
    """Three detections by falling score, of objects 0 and 1 and the crowd 2; IoU 0.5, ..., 0.95; all areas alike."""
    iou = np.array([[0.72, 0.72, 0.9], [0.6, 0.81, 0.9], [0.0, 0.3, 0.66]])
    crowd = np.array([False, False, True])
    ignored_objects = crowd[:, None].repeat(4, axis=1)
    matched, ignored, first = match(iou, crowd, ignored_objects, np.zeros((3, 4), bool))
    # The first takes object 1, the last of its equals, up to 0.7, and beyond that the crowd up to 0.9.
    # The second finds 1 taken up to 0.7 and takes 0 up to 0.6; then the crowd; from 0.75 to 0.8 it has 1 itself.
    assert matched[:, 0].astype(int).tolist() == [[1] * 9 + [0], [1] * 9 + [0], [1] * 4 + [0] * 6]
    assert ignored[:, 0].astype(int).tolist() == [
        [0, 0, 0, 0, 0, 1, 1, 1, 1, 0],
        [0, 0, 0, 1, 1, 0, 0, 1, 1, 0],
        [1, 1, 1, 1, 0, 0, 0, 0, 0, 0],
    ]
    assert first.tolist() == [1, 0, 2]


def test_a_detection_out_of_the_area_range_is_ignored_unless_it_matches() -> None:
    iou = np.array([[0.8], [0.1]])
    small_only = np.array([[False, True, False, False]]).repeat(2, axis=0)
    matched, ignored, _ = match(iou, np.array([False]), np.zeros((1, 4), bool), small_only)
    assert matched[0, 1, 0]
    assert not ignored[0, 1, 0]
    assert ignored[0, 1, 9]
    assert ignored[1].any(axis=1).tolist() == [False, True, False, False]


def test_thresholds_are_packed_into_bits() -> None:
    reached = np.zeros((2, 3, 10), bool)
    reached[0, 1, [0, 3]] = reached[1, 2, 9] = True
    bits = packed(reached)
    assert bits.dtype == np.uint16
    assert bits.tolist() == [[0, 0b1001, 0], [0, 0, 0b10_0000_0000]]
    assert (unpacked(bits) == reached).all()
    assert (unpacked(bits[:, 1]) == reached[:, 1]).all()


def test_every_image_must_be_given() -> None:
    case = Case(scene(np.random.default_rng(0), images=2), [])
    matcher = Matcher(dataset_of(case))
    matcher.update(5, [])
    with pytest.raises(ValueError, match="1 of 2 images"):
        matcher.matches()
