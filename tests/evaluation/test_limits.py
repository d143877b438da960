"""AP with another limit of detections than COCO's, against pycocotools; what the limit removes is not called missed."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluator_cases import CASES, HEIGHT, WIDTH, Case, crowded, grid, perturbed, result, rle_of, scene
from figures_from_matches import coco_figures
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from test_diagnosis import counted_from_1
from test_matching import dataset_of

from bench.evaluation.average_precision import mean_precision
from bench.evaluation.diagnosis import errors, worst_images
from bench.evaluation.evaluators import EVALUATORS
from bench.evaluation.matching import Matcher, Matches
from bench.schema.parts.accuracy import COCO_FIGURES, TIDE_ERRORS, ImageFaults

LIMITS = (1, 7, 50, 100, 300, 1000)


def referee(case: Case, limit: int) -> dict[str, float | None]:
    """Give the twelve figures by pycocotools' own summary, but AP, which it has at 100 detections alone."""
    stats, precision = _by_pycocotools(case, [1, min(10, limit), limit])  # it sorts them, and takes the third
    defined = precision[precision > -1]
    at_coco, _ = _by_pycocotools(case, [1, 10, 100])
    values = [defined.mean() if defined.size else -1, *stats[1:]]
    values[7] = stats[7] if limit >= 10 else None
    values[8] = at_coco[8] if limit >= 100 else None
    pairs = zip(COCO_FIGURES, values, strict=True)
    return {name: None if value is None or value == -1 else float(value) for name, value in pairs}


def _by_pycocotools(case: Case, limits: list[int]) -> tuple[np.ndarray, np.ndarray]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"info": {}, **copy.deepcopy(case.truth)}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(case.results)), "segm")
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"][:, :, :, 0, -1]


def by_ours(case: Case, name: str, limit: int) -> dict[str, float | None]:
    dataset = dataset_of(case)
    evaluator = EVALUATORS[name](dataset, limit)
    for image in dataset.images:
        evaluator.update(image.id, [r for r in case.results if r["image_id"] == image.id])
    return evaluator.figures()[0]


def matches_of(case: Case, limit: int) -> Matches:
    dataset = dataset_of(case)
    matcher = Matcher(dataset, limit)
    for image in dataset.images:
        matcher.update(image.id, [r for r in case.results if r["image_id"] == image.id])
    return matcher.matches()


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("name", ["over 100 detections", "plain", "crowds over instances"])
def test_figures_equal_pycocotools_at_every_limit(name: str, limit: int) -> None:
    case = CASES[name](np.random.default_rng(3))
    expected = referee(case, limit)
    wanted = {key: value if value is None else pytest.approx(value, abs=1e-12) for key, value in expected.items()}
    for evaluator in EVALUATORS:
        assert by_ours(case, evaluator, limit) == wanted, evaluator
    matches = matches_of(case, limit)
    assert mean_precision(matches)[~np.isnan(mean_precision(matches))].mean() == wanted["mask_ap"]
    of_matches = {name: value for name, value in coco_figures(matches).items() if expected[name] is not None}
    assert of_matches == {name: wanted[name] for name in of_matches}


def test_the_limit_changes_the_figures() -> None:
    """Else the test above would show nothing."""
    case = CASES["over 100 detections"](np.random.default_rng(3))
    figures = [by_ours(case, "hotcoco", limit)["mask_ap"] for limit in LIMITS]
    assert figures == sorted(figures)
    assert len(set(figures)) == len(LIMITS) - 1  # no image has 300 detections


@pytest.mark.parametrize("name", [name for name in CASES if name != "shapes"])
def test_at_100_the_figures_are_those_of_both_packages_to_the_last_bit(name: str) -> None:
    from hotcoco import StreamingEval

    case = CASES[name](np.random.default_rng(4))
    dataset = dataset_of(case)
    annotations = dataset.annotations_by_image()
    stream = StreamingEval([{"id": c.id, "name": c.name} for c in dataset.categories], iou_type="segm")
    for image in dataset.images:
        entry = {"id": image.id, "height": image.height, "width": image.width}
        of_image = [r for r in case.results if r["image_id"] == image.id]
        stream.update([entry], annotations.get(image.id, []), of_image)
    evaluation = stream.finalize()
    evaluation.accumulate()
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.summarize()
    assert list(by_ours(case, "hotcoco", 100).values()) == [None if v == -1 else v for v in evaluation.stats]
    if case.results and name != "annotation 0":
        stats, _ = _by_pycocotools(case, [1, 10, 100])
        assert list(by_ours(case, "pycocotools", 100).values()) == [None if v == -1 else v for v in stats]


def test_what_the_limit_removed_is_not_missed() -> None:
    """400 objects, 400 right results and the limit of 100: 26 of 101 recall points, and nothing is missed."""
    matches = matches_of(crowded([400, 400]), 100)
    assert mean_precision(matches).mean() == pytest.approx(26 / 101)
    assert errors(matches) == dict.fromkeys(TIDE_ERRORS, 0.0)
    assert worst_images(matches, [1, 2]) == {"missed": [], "false": [], "masks": []}
    assert np.count_nonzero(~np.isnan(matches.object_cut)) == 600
    whole = matches_of(crowded([400, 400]), 1000)
    assert mean_precision(whole).mean() == 1.0
    assert np.isnan(whole.object_cut).all()


def test_what_no_detection_has_is_missed_beside_what_the_limit_removed() -> None:
    """120 objects and 115 right results: at the limit of 100 another 15 are removed, and 5 are missed."""
    case = crowded([120], found=115)
    matches = matches_of(case, 100)
    assert np.count_nonzero(matches.object_missed) == 5
    assert worst_images(matches, [1])["missed"] == [ImageFaults(1, 5, 0, 1.0)]
    # Mended, the 5 are no objects: 100 of 115 are found, 87 of 101 recall points; else 100 of 120, 84 points.
    assert errors(matches)["missed"] == pytest.approx((87 - 84) / 101)


def test_a_removed_detection_below_the_score_that_counts_does_not_excuse_the_image() -> None:
    case = crowded([120])
    case.results = [{**r, "score": 0.2} if place >= 110 else r for place, r in enumerate(case.results)]
    assert worst_images(matches_of(case, 100), [1])["missed"] == [ImageFaults(1, 10, 0, 1.0)]


def test_a_removed_detection_of_another_category_or_of_half_the_object_is_none() -> None:
    case = crowded([102])
    case.truth["categories"].append({"id": 2, "name": "other"})
    case.results[100]["category_id"] = 2
    half = np.zeros((HEIGHT, WIDTH), bool)
    half[21:23, 84:89] = True  # two of the five rows of object 102
    assert case.truth["annotations"][101]["segmentation"] == rle_of(grid(102, 1)[101][2])
    case.results[101] = result(1, 1, half, 0.1)
    matches = matches_of(case, 100)
    assert np.isnan(matches.object_cut).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_errors_equal_hotcoco_at_a_limit_that_removes_nothing(seed: int, tmp_path: Path) -> None:
    hotcoco = pytest.importorskip("hotcoco", reason="hotcoco is not installed")
    case = CASES["over 100 detections"](np.random.default_rng(seed))
    dataset = dataset_of(case)
    (tmp_path / "results.json").write_text(json.dumps(counted_from_1(case.results, dataset)))
    truth = hotcoco.COCO(dataset.ground_truth())
    evaluation = hotcoco.COCOeval(truth, truth.load_res(str(tmp_path / "results.json")), "segm")
    parameters: Any = evaluation.params
    parameters.max_dets = [1, 10, 1000]
    evaluation.evaluate()
    theirs = evaluation.tide_errors()["delta_ap"]
    names = dict(zip(TIDE_ERRORS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))
    assert errors(matches_of(case, 1000)) == {
        name: pytest.approx(theirs[short], abs=1e-12) for name, short in names.items()
    }
    assert theirs["Miss"] > 0.01


IDS = {
    "negative": lambda n: -1000 + 7 * n,
    "from 0": lambda n: n,
    "huge": lambda n: 10**30 + n,
    "beyond 64 bits on both sides": lambda n: (n - 2) * 2**70,
    "texts": lambda n: f"scan/{n:03d}.png",
    "numbers and texts": lambda n: n if n < 2 else f"image {n}",
    "around 2^53": lambda n: 2**53 + n,
}


@pytest.mark.parametrize("evaluator", sorted(EVALUATORS))
@pytest.mark.parametrize("name", IDS)
def test_ids_of_any_kind_give_the_figures_of_ids_from_1_on(name: str, evaluator: str) -> None:
    plain = Case(truth := scene(np.random.default_rng(5)), perturbed(np.random.default_rng(6), truth))
    image = {entry["id"]: IDS[name](n) for n, entry in enumerate(truth["images"])}
    category = {entry["id"]: IDS[name](n) for n, entry in enumerate(truth["categories"])}

    def renamed(entries: list[Any]) -> list[Any]:
        return [{**e, "image_id": image[e["image_id"]], "category_id": category[e["category_id"]]} for e in entries]

    strange = copy.deepcopy(dataset_of(plain))
    strange.images = tuple(dataclasses.replace(each, id=image[each.id]) for each in strange.images)
    strange.categories = tuple(dataclasses.replace(each, id=category[each.id]) for each in strange.categories)
    strange.annotations = renamed(strange.annotations)
    results = renamed([{**r, "caption": "a key of the user's", "area": 1, "id": "x"} for r in plain.results])
    ours, matcher = EVALUATORS[evaluator](strange), Matcher(strange)
    for record in strange.images:
        of_image = [r for r in results if r["image_id"] == record.id]
        ours.update(record.id, of_image)
        matcher.update(record.id, of_image)
    expected = referee(plain, 100)
    wanted = {key: value if value is None else pytest.approx(value, abs=1e-12) for key, value in expected.items()}
    assert 0.1 < (expected["mask_ap"] or 0) < 0.9
    assert ours.figures()[0] == wanted
    assert coco_figures(matcher.matches()) == wanted
    listed = worst_images(matcher.matches(), [record.id for record in strange.images])
    assert {f.image_id for faults in listed.values() for f in faults} <= {_stored(i) for i in image.values()}


def _stored(identity: Any) -> Any:
    return str(identity) if isinstance(identity, int) and abs(identity) >= 2**63 else identity


def test_two_categories_of_one_name_of_which_one_is_empty() -> None:
    """Roboflow writes a root category that may be named as a class."""
    for empty_first in (True, False):
        case = crowded([3])
        root = {"id": 0 if empty_first else 5, "name": "cell"}
        case.truth["categories"].append(root)
        for name in EVALUATORS:
            dataset = dataset_of(case)
            evaluator = EVALUATORS[name](dataset)
            evaluator.update(1, case.results)
            assert evaluator.figures()[1] == {"cell": 1.0}
