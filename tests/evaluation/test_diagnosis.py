"""TIDE's error types on cases with one error each, calibration and worst images: literal values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluator_cases import CASES as EVALUATOR_CASES
from evaluator_cases import NOTHING_TO_FIND, Case, Coco, perturbed, rectangle, result, rle_of, scene
from test_matching import dataset_of, doubled_objects, matches_of

from bench.data.dataset import CocoDataset
from bench.evaluation.diagnosis import calibration, errors, worst_images
from bench.schema.parts.accuracy import TIDE_ERRORS, ImageFaults

WHOLE = rectangle(40, 40)
LOW = rectangle(12, 40)  # IoU 0.3 with WHOLE
FAR = np.roll(WHOLE, (80, 80), axis=(0, 1))

HOTCOCO_NAMES = dict(zip(TIDE_ERRORS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))

HALF = 51 / 101
"""AP of a class whose one of two objects is found: 51 of COCO's 101 recall points."""


def case_of(objects: list[tuple[int, int]], detections: list[tuple[int, int, Any, float]]) -> Case:
    """objects: image and category, each WHOLE; detections: image, category, mask, score."""
    truth = {
        "images": [{"id": n, "height": 150, "width": 190, "file_name": f"{n}.jpg"} for n in (1, 2, 3, 4)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "iscrowd": 0,
                "area": 1600,
                "bbox": [0, 0, 40, 40],
                "segmentation": rle_of(WHOLE),
            }
            for number, (image, category) in enumerate(objects, start=1)
        ],
        "categories": [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}],
    }
    return Case(truth, [result(*detection) for detection in detections])


CASES = {
    # Class 1 has AP 0, class 2 a false one before its true one, 0.5; mended, both have 1.
    "classification": ([(1, 1), (2, 2)], [(1, 2, WHOLE, 0.9), (2, 2, WHOLE, 0.5)], {"classification": 0.75}),
    "localization": ([(1, 1)], [(1, 1, LOW, 0.9)], {"localization": 1.0}),
    # Precision 1/2 in class 1 for a detection that lies beside an object of class 2, which is missed there.
    "both": (
        [(1, 1), (2, 2), (3, 2)],
        [(2, 1, LOW, 0.9), (1, 1, WHOLE, 0.5), (3, 2, WHOLE, 0.5)],
        {"both": 0.25, "missed": (1 - HALF) / 2},
    ),
    # Precision 2/3 at the last 50 recall points.
    "duplicate": (
        [(1, 1), (2, 1)],
        [(1, 1, WHOLE, 0.9), (1, 1, WHOLE, 0.8), (2, 1, WHOLE, 0.7)],
        {"duplicate": 50 / 101 / 3},
    ),
    "background": (
        [(1, 1), (2, 1)],
        [(1, 1, WHOLE, 0.9), (1, 1, FAR, 0.8), (2, 1, WHOLE, 0.7)],
        {"background": 50 / 101 / 3},
    ),
    "missed": ([(1, 1), (2, 1)], [(1, 1, WHOLE, 0.9)], {"missed": 1 - HALF}),
    "nothing wrong": ([(1, 1), (2, 2)], [(1, 1, WHOLE, 0.9), (2, 2, WHOLE, 0.8)], {}),
}


@pytest.mark.parametrize("name", CASES)
def test_errors(name: str) -> None:
    objects, detections, expected = CASES[name]
    found = errors(matches_of(case_of(objects, detections)))
    assert found == pytest.approx({**dict.fromkeys(TIDE_ERRORS, 0.0), **expected}, abs=1e-12)


def objects_of_two_classes(rng: np.random.Generator) -> Case:
    """Every object twice, the second time of another class: a wrong detection could be meant for either."""
    truth = scene(rng, classes=5)
    other = {2: 10, 6: 2, 10: 18, 14: 6, 18: 14}
    again = [{**a, "id": 1000 + a["id"], "category_id": other[a["category_id"]]} for a in truth["annotations"]]
    whole = {**truth, "annotations": again + truth["annotations"]}
    return Case(whole, perturbed(rng, whole, copies=1))


OVER_THE_LIMIT = ("over 100 detections", "over 100, scores equal")

MAKERS = {**EVALUATOR_CASES, "doubled objects": doubled_objects, "objects of two classes": objects_of_two_classes}


def counted_from_1(results: list[Coco], dataset: CocoDataset) -> list[Coco]:
    """Give results under the ids of ``ground_truth()``."""
    image = {record.id: number for number, record in enumerate(dataset.images, start=1)}
    category = {each.id: number for number, each in enumerate(dataset.categories, start=1)}
    return [{**r, "image_id": image[r["image_id"]], "category_id": category[r["category_id"]]} for r in results]


@pytest.mark.parametrize("name", MAKERS)
def test_errors_and_calibration_equal_hotcoco(name: str, tmp_path: Path) -> None:
    hotcoco = pytest.importorskip("hotcoco", reason="hotcoco is not installed")
    case = MAKERS[name](np.random.default_rng(1))
    predictions = tmp_path / "predictions.json"
    dataset = dataset_of(case)
    predictions.write_text(json.dumps(counted_from_1(case.results, dataset)))
    truth = hotcoco.COCO(dataset.ground_truth())
    evaluation = hotcoco.COCOeval(truth, truth.load_res(str(predictions)), "segm")
    evaluation.evaluate()
    theirs = evaluation.tide_errors()["delta_ap"]
    matches = matches_of(case)
    wanted = {ours: pytest.approx(theirs[name], abs=1e-12) for ours, name in HOTCOCO_NAMES.items()}
    if name in OVER_THE_LIMIT:  # what the limit has removed is not missed, see test_what_the_limit_removed
        assert errors(matches)["missed"] < theirs["Miss"] - 0.01
        wanted["missed"] = errors(matches)["missed"]
    assert errors(matches) == wanted
    assert sum(errors(matches).values()) > 0.05 or name in ("no detections", *NOTHING_TO_FIND)
    counted, found = evaluation.calibration(), calibration(matches)
    if not counted["num_detections"]:
        assert found is None
        return
    assert found is not None
    filled = [b for b in counted["bins"] if b["count"]]
    assert found.detections == [b["count"] for b in counted["bins"]]
    assert found.edges == pytest.approx([b["bin_lower"] for b in counted["bins"]] + [1.0], abs=1e-12)
    assert found.expected_error == pytest.approx(counted["ece"], abs=1e-12)
    for values, key in ((found.mean_score, "avg_confidence"), (found.precision, "avg_accuracy")):
        assert [v for v in values if v is not None] == pytest.approx([b[key] for b in filled], abs=1e-12)


def test_calibration() -> None:
    """Scores 0.95 (true), 0.85 (false), 0.32 and 0.38 (one of two true)."""
    case = case_of([(1, 1), (2, 1)], [(1, 1, WHOLE, 0.95), (1, 1, FAR, 0.85), (2, 1, WHOLE, 0.32), (3, 1, WHOLE, 0.38)])
    found = calibration(matches_of(case))
    assert found is not None
    assert found.edges == pytest.approx([n / 10 for n in range(11)])
    assert found.detections == [0, 0, 0, 2, 0, 0, 0, 0, 1, 1]
    assert found.mean_score == [None] * 3 + [pytest.approx(0.35)] + [None] * 4 + [
        pytest.approx(v) for v in (0.85, 0.95)
    ]
    assert found.precision == [None] * 3 + [0.5] + [None] * 4 + [0.0, 1.0]
    assert found.expected_error == pytest.approx((2 * abs(0.35 - 0.5) + 0.85 + 0.05) / 4)


def test_no_detections() -> None:
    """TIDE counts a class whose every object is forgiven as AP 0."""
    matches = matches_of(case_of([(1, 1)], []))
    assert errors(matches) == dict.fromkeys(TIDE_ERRORS, 0.0)
    assert calibration(matches) is None


def test_worst_images() -> None:
    three_quarters = rectangle(30, 40)
    case = case_of(
        [(1, 1), (1, 2), (2, 1), (3, 1)],
        [
            (1, 1, WHOLE, 0.9),
            (2, 1, LOW, 0.9),
            (2, 2, FAR, 0.3),
            (3, 1, three_quarters, 0.9),
            (3, 1, WHOLE, 0.8),
            (4, 1, WHOLE, 0.29),
        ],
    )
    found = worst_images(matches_of(case), [1, 2, 3, 4])
    one = ImageFaults(1, missed=1, false=0, mean_iou=1.0)
    two = ImageFaults(2, missed=1, false=2, mean_iou=None)
    three = ImageFaults(3, missed=0, false=1, mean_iou=0.75)
    assert found == {"missed": [one, two], "false": [two, three], "masks": [three]}


def test_at_most_twelve_worst_images() -> None:
    case = case_of([], [])
    case.truth["images"] = [{**case.truth["images"][0], "id": n} for n in range(1, 21)]
    case.results = [result(n, 1, WHOLE, 0.9) for n in range(1, 21) for _ in range(n)]
    found = worst_images(matches_of(case), list(range(1, 21)))
    assert [fault.image_id for fault in found["false"]] == list(range(20, 8, -1))
    assert found["missed"] == found["masks"] == []
