"""Mask AP by LVIS's rules equals lvis-api's, from hotcoco and from our own matches.

The numbers are those that ``python tests/cases/lvis_by_the_api.py`` prints, with lvis 0.5.3 and NumPy 1.23.5.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lvis_cases import by_hand, rle

from bench.data.dataset import CocoDataset, load
from bench.errors import UserError
from bench.evaluation import bootstrap, diagnosis
from bench.evaluation.average_precision import boundary_figures, mean_precision
from bench.evaluation.evaluators import EVALUATORS, HotcocoEvaluator
from bench.evaluation.matching import Matcher, Matches
from bench.schema.config import DatasetConfig
from bench.schema.parts.accuracy import COCO_FIGURES, LVIS_FIGURES

NAMES = {
    **{"AP": "mask_ap", "AP50": "mask_ap50", "AP75": "mask_ap75", "APs": "mask_ap_small", "APm": "mask_ap_medium"},
    **{"APl": "mask_ap_large", "APr": "mask_ap_rare", "APc": "mask_ap_common", "APf": "mask_ap_frequent"},
    **{"AR@": "mask_ar", "ARs@": "mask_ar_small", "ARm@": "mask_ar_medium", "ARl@": "mask_ar_large"},
}
"""Ours of lvis-api's names; behind the @ stands its limit."""

# fmt: off
BY_THE_API = {
    (0, 300): {"AP": 0.5987639481627542, "AP50": 0.7615368091430992, "AP75": 0.6707267281349983,
        "APs": 0.5663552569542668, "APm": 0.6917326732673267, "APl": -1.0, "APr": 0.728658010355011,
        "APc": 0.47739091766319486, "APf": 0.6551899475661851, "AR@300": 0.8342832722832724,
        "ARs@300": 0.7851904761904764, "ARm@300": 0.9060000000000001, "ARl@300": -1.0},
    (400, 300): {"AP": 0.5997109002109002, "AP50": 0.7628632506107754, "AP75": 0.6720531696026746,
        "APs": 0.5663552569542668, "APm": 0.694978783592645, "APl": -1.0, "APr": 0.7333927705957409,
        "APc": 0.47739091766319486, "APf": 0.6551899475661851, "AR@300": 0.8342832722832724,
        "ARs@300": 0.7851904761904764, "ARm@300": 0.9060000000000001, "ARl@300": -1.0},
    (400, 10): {"AP": 0.48639591101967344, "AP50": 0.6152992442101354, "AP75": 0.5425379680825225,
        "APs": 0.44261386138613856, "APm": 0.5436633663366337, "APl": -1.0, "APr": 0.5433323332333234,
        "APc": 0.2891336633663366, "APf": 0.6551899475661851, "AR@10": 0.6854920634920636,
        "ARs@10": 0.6589047619047621, "ARm@10": 0.686, "ARl@10": -1.0},
}
"""By the number of results more in the first image, and the limit of detections."""
# fmt: on


def write(truth: dict[str, Any], folder: Path) -> DatasetConfig:
    (folder / "lvis.json").write_text(json.dumps(truth))
    return DatasetConfig(name="lvis", format="lvis", annotations=str(folder / "lvis.json"))


def evaluated(dataset: CocoDataset, results: list[dict[str, Any]], most: int) -> tuple[dict[str, Any], Matches]:
    """Give the figures of the accuracy pass, and the matches."""
    evaluator, matcher = HotcocoEvaluator(dataset, most), Matcher(dataset, most)
    for image in dataset.images:
        of_image = [result for result in results if result["image_id"] == image.id]
        evaluator.update(image.id, of_image)
        matcher.update(image.id, of_image)
    return evaluator.figures()[0], matcher.matches()


@pytest.mark.parametrize(("crowded", "most"), BY_THE_API)
def test_the_figures_are_those_of_lvis_api(crowded: int, most: int, tmp_path: Path) -> None:
    truth, results = by_hand(crowded=crowded)
    dataset = load(write(truth, tmp_path))
    figures, matches = evaluated(dataset, results, most)
    expected = {NAMES[name.partition("@")[0] + "@" * ("@" in name)]: v for name, v in BY_THE_API[crowded, most].items()}
    assert set(expected) | {"mask_ar_1", "mask_ar_10", "mask_ar_100"} == {*COCO_FIGURES, *LVIS_FIGURES} == set(figures)
    for name, value in expected.items():
        assert figures[name] == (None if value < 0 else pytest.approx(value, abs=1e-9)), name
    assert {figures[name] for name in ("mask_ar_1", "mask_ar_10", "mask_ar_100")} == {None}
    for area, name in enumerate(("mask_ap", "mask_ap_small", "mask_ap_medium")):
        assert np.nanmean(mean_precision(matches, area)) == pytest.approx(expected[name], abs=1e-9)
    # What follows from the matches is of the same rules: the replicates scatter around this AP.
    image_ids = [image.id for image in dataset.images]
    replicates = bootstrap.bootstrap(matches, dataset.sha256, image_ids, 0, boundary=True).mask_ap
    assert np.mean(replicates) == pytest.approx(expected["mask_ap"], abs=0.05)


@pytest.mark.skipif(importlib.util.find_spec("lvis") is None, reason="lvis is not installed")
def test_the_numbers_are_still_those_of_lvis_api() -> None:
    from lvis_by_the_api import figures

    assert {case: figures(*case) for case in BY_THE_API} == {
        case: pytest.approx(of_case, abs=1e-9) for case, of_case in BY_THE_API.items()
    }


def one_image(absent: list[int], incomplete: list[int]) -> dict[str, Any]:
    """A square of category 1 in an image of which nobody said anything of category 3."""
    image = {"id": 1, "height": 128, "width": 128, "file_name": "1.jpg"}
    return {
        "images": [{**image, "neg_category_ids": absent, "not_exhaustive_category_ids": incomplete}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": rle(10, 10, 40, 40),
                "area": 1600,
                "bbox": [10, 10, 40, 40],
            }
        ],
        "categories": [{"id": k, "name": f"class {k}", "frequency": "c"} for k in (1, 2, 3)],
    }


def found(category: int, x: int, score: float) -> dict[str, Any]:
    return {"image_id": 1, "category_id": category, "segmentation": rle(x, 10, 40, 40), "score": score}


@pytest.mark.parametrize(
    ("absent", "incomplete", "wrong", "right"),
    [
        ([], [], found(1, 60, 0.9), 0.5),  # of a category that is there: a false positive before the true one
        ([], [1], found(1, 60, 0.9), 1.0),  # unless not all of its objects are annotated
        ([], [1], found(1, 10, 0.9), 1.0),  # and a match counts there too
        ([2], [], found(2, 10, 0.9), 1.0),  # of another category than the one whose AP it is
    ],
)
def test_one_detection_more(
    absent: list[int], incomplete: list[int], wrong: dict[str, Any], right: float, tmp_path: Path
) -> None:
    """AP of a square that is found exactly at a lower score than another detection."""
    dataset = load(write(one_image(absent, incomplete), tmp_path))
    figures, matches = evaluated(dataset, [wrong, found(1, 10, 0.5)], 300)
    assert figures["mask_ap"] == pytest.approx(right, abs=1e-9)
    assert np.nanmean(mean_precision(matches)) == pytest.approx(right, abs=1e-9)
    assert boundary_figures(matches)["boundary_ap"] == pytest.approx(right, abs=1e-9)


def test_what_nobody_looked_for_is_no_error(tmp_path: Path) -> None:
    """Category 2 is known to be absent, of category 3 nobody knows: TIDE and the worst images count the first alone."""
    dataset = load(write(one_image([2], []), tmp_path))
    of_unknown, of_absent = found(3, 60, 0.9), found(2, 60, 0.9)
    hit = found(1, 10, 0.8)
    for wrong, counted in ((of_unknown, 0), (of_absent, 1)):
        _, matches = evaluated(dataset, [wrong, hit], 300)
        assert len(matches.score) == 1 + counted
        [faults] = diagnosis.image_faults(matches, [1])
        assert (faults.false, faults.missed) == (counted, 0)
        calibration = diagnosis.calibration(matches)
        assert calibration is not None
        assert sum(calibration.detections) == 1 + counted
        assert int((matches.error < 6).sum()) == counted


def test_the_limit_is_of_the_whole_image(tmp_path: Path) -> None:
    """One detection of each category may count by COCO's rule; of an LVIS image two of three, by score."""
    dataset = load(write(one_image([2], []), tmp_path))
    results = [found(3, 60, 0.9), found(2, 60, 0.8), found(1, 10, 0.7)]
    figures, matches = evaluated(dataset, results, 2)
    assert (figures["mask_ap"], len(matches.score)) == (0.0, 1)
    assert matches.object_cut.tolist() == [0.7]  # the model did find it
    assert evaluated(dataset, results, 3)[0]["mask_ap"] == pytest.approx(1.0, abs=1e-9)


def test_pycocotools_knows_no_rules_of_lvis(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give evaluator=hotcoco"):
        EVALUATORS["pycocotools"](load(write(by_hand()[0], tmp_path)))
