"""Makes ground truth and predictions on which evaluators of COCO's mask AP might disagree, by a seeded generator."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_api

from bench.data.shapes.generate import ensure
from bench.predictor import ReplayPredictor
from bench.schema.config import ShapesConfig

REAL = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "coco_val_cc" / "instances.json"
HEIGHT, WIDTH = 150, 190

Coco = dict[str, Any]


@dataclass
class Case:
    """Ground truth as a COCO dictionary, and results without ``bbox``."""

    truth: Coco
    results: list[Coco]


class Replay(ReplayPredictor):
    """Gives the results that it was made with, by falling score."""

    def __init__(self, results: list[Coco]) -> None:
        self.classes = ()
        self._results = sorted(results, key=lambda r: -r["score"])

    def results(self, image_id: int) -> list[Coco]:
        return [r for r in self._results if r["image_id"] == image_id]


def rle_of(mask: np.ndarray) -> Coco:
    encoded = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode()}


def ellipse(rng: np.random.Generator) -> np.ndarray:
    """Make a mask of any of COCO's three sizes."""
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    side = rng.choice([rng.uniform(6, 30), rng.uniform(34, 90), rng.uniform(100, 130)])
    ratio = rng.uniform(0.8, 1.2)
    cy, cx = rng.uniform(0.2, 0.8, 2) * (HEIGHT, WIDTH)
    return ((y - cy) / (side * ratio)) ** 2 + ((x - cx) / (side / ratio)) ** 2 < 1 / np.pi


def scene(
    rng: np.random.Generator, images: int = 8, classes: int = 3, instances: int = 7, crowds: float = 0.15
) -> Coco:
    """Make ground truth of ellipses; ids have gaps, as COCO's do."""
    annotations: list[Coco] = []
    for image in range(images):
        for _ in range(instances):
            rle = rle_of(ellipse(rng))
            annotations.append(
                {
                    "id": 3 * len(annotations) + 1,
                    "image_id": 10 * image + 5,
                    "category_id": int(rng.integers(classes)) * 4 + 2,
                    "iscrowd": int(rng.random() < crowds),
                    "area": int(mask_api.area(rle)),
                    "bbox": [float(side) for side in mask_api.toBbox(rle)],
                    "segmentation": rle,
                }
            )
    return {
        "images": [
            {"id": 10 * n + 5, "height": HEIGHT, "width": WIDTH, "file_name": f"{n}.jpg"} for n in range(images)
        ],
        "annotations": annotations,
        "categories": [{"id": 4 * n + 2, "name": f"class {n}"} for n in range(classes)],
    }


def perturbed(rng: np.random.Generator, truth: Coco, copies: int = 3) -> list[Coco]:
    """Make results that err as a model might: truth and crowds are shifted, eroded, relabelled, missed, doubled."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    categories = [category["id"] for category in truth["categories"]]
    results = []
    for annotation in truth["annotations"]:
        if rng.random() < 0.15:
            continue
        mask = decoded(annotation["segmentation"], *sizes[annotation["image_id"]])
        for _ in range(rng.integers(1, copies + 1)):
            copy = np.roll(mask, rng.integers(-5, 6, size=2), axis=(0, 1))
            for _ in range(rng.integers(0, 3)):
                copy = copy & np.roll(copy, 1, axis=0) & np.roll(copy, 1, axis=1)
            wrong = rng.random() < 0.15
            category = int(rng.choice(categories)) if wrong else annotation["category_id"]
            results.append(result(annotation["image_id"], category, copy, float(rng.random())))
    return results


def result(image_id: int, category_id: int, mask: np.ndarray, score: float) -> Coco:
    return {"image_id": image_id, "category_id": category_id, "segmentation": rle_of(mask), "score": score}


def decoded(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return mask_api.decode(segmentation).astype(bool)
    rle = mask_api.frPyObjects(segmentation, height, width)
    return mask_api.decode(mask_api.merge(rle) if isinstance(rle, list) else rle).astype(bool)


def without(truth: Coco, drop: Callable[[Coco], bool]) -> Coco:
    """Give the truth without the annotations for which ``drop`` is true."""
    return {**truth, "annotations": [a for a in truth["annotations"] if not drop(a)]}


def seen(rng: np.random.Generator, truth: Coco, copies: int = 3) -> Case:
    return Case(truth, perturbed(rng, truth, copies))


def scored(case: Case, score: Callable[[float], float]) -> Case:
    """Give the same results with other scores."""
    return Case(case.truth, [{**r, "score": score(r["score"])} for r in case.results])


def shapes(rng: np.random.Generator) -> Case:
    with tempfile.TemporaryDirectory() as folder:
        _, annotations = ensure(ShapesConfig(count=25, seed=5, cache=folder))
        truth = json.loads(annotations.read_text())
    assert any(a["iscrowd"] for a in truth["annotations"])
    assert len({a["image_id"] for a in truth["annotations"]}) < len(truth["images"])
    return seen(rng, truth)


def coco(rng: np.random.Generator) -> Case:
    if not REAL.exists():
        pytest.skip("the COCO annotations are not beside this checkout")
    truth = json.loads(REAL.read_text())
    assert any(a["iscrowd"] for a in truth["annotations"])
    return seen(rng, truth, copies=2)


def empty_images(rng: np.random.Generator) -> Case:
    """Make image 5 with detections only, image 15 with nothing, and image 35 with annotations only."""
    whole = scene(rng)
    results = [r for r in perturbed(rng, whole) if r["image_id"] not in (15, 35)]
    return Case(without(whole, lambda a: a["image_id"] in (5, 15)), results)


def no_annotations(rng: np.random.Generator) -> Case:
    truth = scene(rng)
    return Case(without(truth, lambda a: True), perturbed(rng, truth))


def more_than_100_detections(rng: np.random.Generator) -> Case:
    case = seen(rng, scene(rng, images=3, classes=1, instances=30), copies=15)
    # COCO's limit holds for each class of each image.
    assert min(Counter((r["image_id"], r["category_id"]) for r in case.results).values()) > 100
    return case


def annotations_counted_from_0(rng: np.random.Generator) -> Case:
    case = seen(rng, scene(rng))
    annotations = [{**a, "id": number} for number, a in enumerate(case.truth["annotations"])]
    return Case({**case.truth, "annotations": annotations}, case.results)


def categories_without_annotations(rng: np.random.Generator) -> Case:
    """Make category 2 with nothing, category 6 with annotations only, and category 10 with detections only."""
    whole = scene(rng, classes=5)
    results = [r for r in perturbed(rng, whole) if r["category_id"] not in (2, 6)]
    return Case(without(whole, lambda a: a["category_id"] in (2, 10)), results)


def empty_and_full_masks(rng: np.random.Generator) -> Case:
    case = seen(rng, scene(rng))
    strange = [np.zeros((HEIGHT, WIDTH), bool), np.ones((HEIGHT, WIDTH), bool)]
    extra = [result(r["image_id"], r["category_id"], strange[n % 2], r["score"]) for n, r in enumerate(case.results)]
    return Case(case.truth, case.results + extra[::2] + extra[1::6])


def iou_at_the_thresholds(rng: np.random.Generator) -> Case:
    """Make squares of 40 x 40 pixels, and detections of as many of their rows or columns that the IoU is 0.5, 0.55, ...

    The areas in the ground truth lie on the limits between small, medium and large.
    """
    truth = scene(rng, images=10, instances=0)
    results = []
    for n, image in enumerate(truth["images"]):
        for category, area in zip(truth["categories"], (32**2, 40**2, 96**2), strict=True):
            square = rle_of(rectangle(40, 40))
            place = {"image_id": image["id"], "category_id": category["id"]}
            number = len(truth["annotations"]) + 1
            truth["annotations"].append(
                {"id": number, **place, "iscrowd": 0, "area": area, "bbox": [0, 0, 40, 40], "segmentation": square}
            )
            for mask in (rectangle(20 + 2 * n, 40), rectangle(40, 20 + 2 * n)):
                results.append(result(**place, mask=mask, score=float(rng.random())))
    return Case(truth, results)


def rectangle(height: int, width: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:height, :width] = True
    return mask


def lists_out_of_order(rng: np.random.Generator) -> Case:
    case = scored(seen(rng, scene(rng)), lambda score: round(score, 1))
    for entries in (*case.truth.values(), case.results):
        rng.shuffle(entries)
    return case


def grid(count: int, image_id: int, category_id: int = 1) -> list[tuple[int, int, np.ndarray]]:
    """Give ``count`` squares of 5 x 5 pixels that lie apart."""
    squares = []
    for number in range(count):
        row, column = divmod(number, WIDTH // 7)
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[7 * row : 7 * row + 5, 7 * column : 7 * column + 5] = True
        squares.append((image_id, category_id, mask))
    return squares


def crowded(counts: list[int], found: int | None = None) -> Case:
    """Make images of so many objects, each found exactly; the scores fall from 0.9 to 0.4."""
    objects = [one for number, count in enumerate(counts, start=1) for one in grid(count, number)]
    annotations = [
        {
            **{"id": number, "image_id": image, "category_id": category, "iscrowd": 0, "area": 25},
            **{"bbox": [0, 0, 5, 5], "segmentation": rle_of(mask)},
        }
        for number, (image, category, mask) in enumerate(objects, start=1)
    ]
    truth = {
        "images": [
            {"id": n, "height": HEIGHT, "width": WIDTH, "file_name": f"{n}.jpg"} for n in range(1, len(counts) + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cell"}],
    }
    scores = np.linspace(0.9, 0.4, len(objects))
    return Case(truth, [result(*one, float(score)) for one, score in zip(objects, scores, strict=True)][:found])


CASES: dict[str, Callable[[np.random.Generator], Case]] = {
    "plain": lambda rng: seen(rng, scene(rng)),
    "shapes": shapes,
    "COCO": coco,
    "empty images": empty_images,
    "no detections": lambda rng: Case(scene(rng), []),
    "no annotations": no_annotations,
    "neither annotations nor detections": lambda rng: Case(scene(rng, instances=0), []),
    "one class": lambda rng: seen(rng, scene(rng, classes=1)),
    "some scores equal": lambda rng: scored(seen(rng, scene(rng)), lambda score: round(score, 1)),
    "all scores equal": lambda rng: scored(seen(rng, scene(rng)), lambda score: 0.5),
    "scores equal in float32": lambda rng: scored(seen(rng, scene(rng)), lambda score: 0.5 + 1e-12 * score),
    "over 100 detections": more_than_100_detections,
    "over 100, scores equal": lambda rng: scored(more_than_100_detections(rng), lambda score: round(score, 1)),
    "annotation 0": annotations_counted_from_0,
    "categories without annotations": categories_without_annotations,
    "all crowd": lambda rng: seen(rng, scene(rng, crowds=1.0)),
    "crowds over instances": lambda rng: seen(rng, scene(rng, instances=20, crowds=0.6)),
    "empty and full masks": empty_and_full_masks,
    "IoU at the thresholds": iou_at_the_thresholds,
    "lists out of order": lists_out_of_order,
}
NOTHING_TO_FIND = ("no annotations", "neither annotations nor detections", "all crowd")
