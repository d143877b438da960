"""LVIS's AP on a set with its 1,203 categories, against pycocotools with LVIS's rules put around it."""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lvis_cases import SIZE, rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.dataset import load
from bench.evaluation.average_precision import mean_precision
from bench.evaluation.evaluators import HotcocoEvaluator
from bench.evaluation.matching import Matcher
from bench.schema.config import DatasetConfig

CATEGORIES, IMAGES, MOST = 1203, 20, 300


def _made(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give a set of rare, common and frequent categories, and results: near copies, and detections of any category,
    in some images more than count."""
    rng = np.random.default_rng(seed)
    words = np.array(["f"] * 405 + ["c"] * 461 + ["r"] * 337)
    often = np.where(words == "f", 10.0, np.where(words == "c", 2.0, 0.5))
    truth: dict[str, Any] = {"images": [], "annotations": []}
    truth["categories"] = [{"id": k, "name": f"class {k}", "frequency": str(w)} for k, w in enumerate(words, start=1)]
    results: list[dict[str, Any]] = []

    def box() -> list[int]:
        return [int(value) for value in (*rng.integers(0, SIZE - 64, 2), *rng.integers(4, 60, 2))]

    def found(image: int, category: int, mask: dict[str, Any], most: float) -> None:
        score = float(rng.uniform(0, most))
        results.append({"image_id": image, "category_id": category, "segmentation": mask, "score": score})

    for image in range(1, IMAGES + 1):
        there = rng.choice(CATEGORIES, 12, replace=False, p=often / often.sum()) + 1
        absent = [int(k) for k in rng.choice(np.setdiff1d(np.arange(1, CATEGORIES + 1), there), 12, replace=False)]
        keys = {"neg_category_ids": absent, "not_exhaustive_category_ids": [int(k) for k in there[:2]]}
        name = {"coco_url": f"http://host/val2017/{image}.jpg"}
        truth["images"].append({"id": image, "height": SIZE, "width": SIZE, **name, **keys})
        for category in map(int, np.repeat(there, 2)):
            x, y, w, h = box()
            number = len(truth["annotations"]) + 1
            about = {"id": number, "image_id": image, "category_id": category, "area": w * h, "bbox": [x, y, w, h]}
            truth["annotations"].append({**about, "segmentation": rle(x, y, w, h)})
            found(image, category, rle(x + int(rng.integers(0, 3)), y, w, h + int(rng.integers(0, 4))), 1)
        for _ in range(int(rng.integers(50, 400))):
            of_image = [*map(int, there), *absent]
            category = int(rng.choice(of_image)) if rng.random() < 0.5 else int(rng.integers(1, CATEGORIES + 1))
            found(image, category, rle(*box()), 0.8)
    return truth, results


def _by_pycocotools(truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    """Give AP and AR by lvis-api's rules (``lvis/eval.py``), of which pycocotools has all but three: which results of
    an image count, in which images a category is looked at, and where a false detection is none."""
    images = {image["id"]: image for image in truth["images"]}
    looked_at = {image_id: set(image["neg_category_ids"]) for image_id, image in images.items()}
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 0
        looked_at[annotation["image_id"]].add(annotation["category_id"])
    by_image = defaultdict(list)
    for result in results:
        by_image[result["image_id"]].append(result)
    counted = [one for of in by_image.values() for one in sorted(of, key=lambda each: -each["score"])[:MOST]]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        kept = [one for one in counted if one["category_id"] in looked_at[one["image_id"]]]
        evaluation = COCOeval(coco, coco.loadRes(kept), "segm")
        evaluation.params.maxDets = [MOST]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        for of in filter(None, evaluation.evalImgs):
            if of["category_id"] in images[of["image_id"]]["not_exhaustive_category_ids"]:
                of["dtIgnore"] = np.logical_or(of["dtIgnore"], of["dtMatches"] == 0)
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"][..., 0, -1], evaluation.eval["recall"][..., 0, -1]
    words = np.array([category["frequency"] for category in truth["categories"]])
    parts = {"": words != "", "_rare": words == "r", "_common": words == "c", "_frequent": words == "f"}
    figures = {f"mask_ap{name}": _mean(precision[:, :, chosen]) for name, chosen in parts.items()}
    return {**figures, "mask_ap50": _mean(precision[0]), "mask_ap75": _mean(precision[5]), "mask_ar": _mean(recall)}


def _mean(values: np.ndarray) -> float:
    return float(values[values > -1].mean())


def test_1203_categories(tmp_path: Path) -> None:
    truth, results = _made(7)
    assert max(np.bincount([result["image_id"] for result in results])) > MOST, "the limit of an image is at work"
    (tmp_path / "lvis.json").write_text(json.dumps(truth))
    dataset = load(DatasetConfig(name="lvis", format="lvis", annotations=str(tmp_path / "lvis.json")))
    evaluator, matcher = HotcocoEvaluator(dataset, MOST), Matcher(dataset, MOST)
    for image in dataset.images:
        of_image = [result for result in results if result["image_id"] == image.id]
        evaluator.update(image.id, of_image)
        matcher.update(image.id, of_image)
    figures, per_class = evaluator.figures()[:2]
    expected = _by_pycocotools(truth, results)
    assert 0.1 < expected["mask_ap"] < 0.9
    assert len(set(expected.values())) == len(expected)
    assert {name: figures[name] for name in expected} == {k: pytest.approx(v, abs=1e-9) for k, v in expected.items()}
    assert np.nanmean(mean_precision(matcher.matches(), 0)) == pytest.approx(expected["mask_ap"], abs=1e-9)
    seen = {annotation["category_id"] for annotation in truth["annotations"]}
    assert sum(value is not None for value in per_class.values()) == len(seen) < CATEGORIES
