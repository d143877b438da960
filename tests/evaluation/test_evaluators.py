"""The same predictions through every evaluator: the twelve figures and each class's AP equal pycocotools' to 1e-9.

The referee is called directly on COCO dictionaries; ours go the way of the accuracy pass, image by image.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluator_cases import CASES, NOTHING_TO_FIND, Case, Coco, rectangle, result, rle_of
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.dataset import CocoDataset, from_coco
from bench.passes.accuracy import EVALUATORS
from bench.schema.parts.accuracy import COCO_FIGURES

Figures = dict[str, "float | None"]


def by_the_api(case: Case, coco: Any, evaluator: Any) -> Figures:
    """Through classes with the API of pycocotools: the twelve figures, and AP by category name."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = coco(), coco()
        truth.dataset = copy.deepcopy(case.truth)
        truth.createIndex()
        found.dataset = {**truth.dataset, "annotations": []}
        found.createIndex()
        if case.results:  # loadRes refuses an empty list
            truth.dataset["info"] = {}
            found = truth.loadRes(copy.deepcopy(case.results))
        evaluation = evaluator(truth, found, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {name: value if value > -1 else None for name, value in zip(COCO_FIGURES, evaluation.stats, strict=False)}
    classes = sorted(case.truth["categories"], key=lambda category: category["id"])
    for k, category in enumerate(classes):
        precision = evaluation.eval["precision"][:, :, k, 0, -1]
        figures[category["name"]] = precision[precision > -1].mean() if (precision > -1).any() else None
    return figures


def by_ours(case: Case, name: str, backwards: bool = False) -> Figures:
    """Through an evaluator of the accuracy pass, by rising or by falling image id."""
    dataset = dataset_of(case.truth)
    evaluator = EVALUATORS[name](dataset)
    for image in dataset.images[:: -1 if backwards else 1]:
        evaluator.update(image.id, [r for r in case.results if r["image_id"] == image.id])
    figures, per_class = evaluator.figures()
    return figures | per_class


def dataset_of(truth: Coco) -> CocoDataset:
    return from_coco("case", copy.deepcopy(truth), Path("images"), Path("truth.json"), sha256="")


def by_faster_coco_eval(case: Case) -> Figures:
    library = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    return by_the_api(case, library.COCO, library.COCOeval_faster)


CONTENDERS: dict[str, Callable[[Case], Figures]] = {
    "faster-coco-eval": by_faster_coco_eval,
    "hotcoco": lambda case: by_ours(case, "hotcoco"),
    "hotcoco, images in another order": lambda case: by_ours(case, "hotcoco", backwards=True),
    "pycocotools": lambda case: by_ours(case, "pycocotools"),
}


def counted_from_1(case: Case) -> Case:
    """Annotation ids as COCO's own: pycocotools and faster-coco-eval know no match with annotation 0."""
    annotations = [{**a, "id": number} for number, a in enumerate(case.truth["annotations"], start=1)]
    return Case({**case.truth, "annotations": annotations}, case.results)


@pytest.mark.parametrize("name", CASES)
def test_every_evaluator_gives_the_figures_of_the_referee(name: str) -> None:
    case = CASES[name](np.random.default_rng(0))
    from_1 = counted_from_1(case) if name == "annotation 0" else case
    expected = by_the_api(from_1, COCO, COCOeval)
    assert len(expected) == len(COCO_FIGURES) + len(case.truth["categories"])
    if name in NOTHING_TO_FIND:
        assert set(expected.values()) == {None}
    elif not case.results:
        assert set(expected.values()) == {0.0}
    else:
        assert 0.1 < expected["mask_ap"] < 0.9
    wanted = {key: value if value is None else pytest.approx(value, abs=1e-9) for key, value in expected.items()}
    for contender, figures in CONTENDERS.items():
        assert figures(from_1 if contender == "faster-coco-eval" else case) == wanted, contender


def test_annotation_0_can_be_found() -> None:
    """One square, found exactly: mask AP is 1. With id 0 pycocotools takes it for missed; ours count from 1."""
    square = rectangle(40, 40)
    annotation = {"id": 0, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 1600, "bbox": [0, 0, 40, 40]}
    truth = {
        "images": [{"id": 1, "height": square.shape[0], "width": square.shape[1], "file_name": "1.jpg"}],
        "annotations": [{**annotation, "segmentation": rle_of(square)}],
        "categories": [{"id": 1, "name": "square"}],
    }
    case = Case(truth, [result(1, 1, square, 0.9)])
    assert by_the_api(case, COCO, COCOeval)["mask_ap"] == 0.0
    for name in EVALUATORS:
        assert by_ours(case, name)["mask_ap"] == pytest.approx(1.0, abs=1e-9)
