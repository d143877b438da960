"""Test which detections are right: against pycocotools' own matches, and by LVIS's rules."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from reports.masks.drawing import Drawn
from reports.masks.judged import FALSE, FOUND, IN_CROWD, UNCOUNTED, Rules, judge

SHAPE = (60, 80)


def _square(left: int, top: int = 10, size: int = 10, category: object = 1, score: float = 1.0) -> Drawn:
    mask = np.zeros(SHAPE, np.uint8, order="F")
    mask[top : top + size, left : left + size] = 1
    rle = coco_mask.encode(mask)
    return Drawn({"size": list(SHAPE), "counts": rle["counts"].decode()}, category, score)


def _by_pycocotools(
    objects: list[Drawn], crowds: list[Drawn], detections: list[Drawn], most: int
) -> dict[float, tuple[str, int]]:
    """The kind and the object of each detection, by its score, which is no other's."""
    annotations = [
        {"id": n, "image_id": 1, "category_id": d.category_id, "segmentation": d.rle, "iscrowd": int(n > len(objects))}
        | {"area": float(coco_mask.area(d.rle)), "bbox": [0, 0, 1, 1]}
        for n, d in enumerate([*objects, *crowds], start=1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        image = {"id": 1, "height": SHAPE[0], "width": SHAPE[1]}
        coco.dataset = {"images": [image], "annotations": annotations, "categories": [{"id": 1}, {"id": 2}]}
        coco.createIndex()
        results = [
            {"image_id": 1, "category_id": d.category_id, "segmentation": d.rle, "score": d.score} for d in detections
        ]
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.params.maxDets = [1, 1, most]
        evaluation.evaluate()
    kinds: dict[float, tuple[str, int]] = {}
    for entry in evaluation.evalImgs:
        if entry is not None and entry["aRng"] == evaluation.params.areaRng[0]:
            for score, match, ignored in zip(
                entry["dtScores"], entry["dtMatches"][0], entry["dtIgnore"][0], strict=True
            ):
                kind = FALSE if not match else IN_CROWD if ignored else FOUND
                kinds[score] = kind, int(match) - 1
    return {d.score: kinds.get(d.score, (UNCOUNTED, -1)) for d in detections}


@pytest.mark.parametrize("seed", range(30))
def test_matches_are_those_of_pycocotools(seed):
    rng = np.random.default_rng(seed)

    def some(count: int) -> list[Drawn]:
        return [
            _square(int(x), int(y), int(size), int(category))
            for x, y, size, category in rng.integers((0, 0, 6, 1), (60, 40, 14, 3), (count, 4))
        ]

    objects, crowds, others = some(8), some(2), some(8)
    near = [Drawn(_moved(d, rng), d.category_id) for d in (*objects, *objects, *crowds)]
    scores = np.sort(rng.permutation(1000)[: len(near) + len(others)] / 1000 + 0.0005)[::-1]
    order = rng.permutation(len(scores))
    mixed = [(*near, *others)[place] for place in order]
    detections = [Drawn(d.rle, d.category_id, float(score)) for d, score in zip(mixed, scores, strict=True)]
    most = int(rng.integers(3, 20))
    judged = judge(objects, crowds, detections, Rules(most))
    assert {one.drawn.score: (one.kind, one.object) for one in judged} == _by_pycocotools(
        objects, crowds, detections, most
    )
    assert {one.kind for one in judged} >= {FOUND, FALSE}


def _moved(drawn: Drawn, rng: np.random.Generator) -> dict:
    mask = np.roll(coco_mask.decode(drawn.rle), rng.integers(-2, 3, 2), (0, 1))
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(SHAPE), "counts": rle["counts"].decode()}


def test_the_literal_case():
    """Two detections on one square: the higher score has it, though the other lies better."""
    objects, crowds = [_square(10), _square(40)], [_square(60, size=15)]
    detections = [
        _square(12, score=0.9),
        _square(10, score=0.8),
        _square(62, 12, 8, score=0.7),
        _square(40, category=2, score=0.6),
        _square(43, score=0.5),
    ]
    judged = judge(objects, crowds, detections, Rules())
    assert [(one.kind, one.object) for one in judged] == [
        (FOUND, 0),
        (FALSE, -1),
        (IN_CROWD, 2),
        (FALSE, -1),
        (FOUND, 1),
    ]
    # 80 of 120 pixels; the second one lies on a square that is taken; the whole of the third lies in the crowd.
    assert [round(one.iou, 6) for one in judged] == [round(80 / 120, 6), 1.0, 1.0, 0.0, round(70 / 130, 6)]


def test_what_is_left_out_for_its_score_changes_nothing():
    objects = [_square(10), _square(12)]
    detections = [_square(11, score=0.9), _square(12, score=0.5), _square(10, score=0.2)]
    whole = judge(objects, [], detections, Rules())
    assert judge(objects, [], detections[:2], Rules()) == whole[:2]


def test_lvis_counts_only_classes_that_were_looked_for():
    objects = [_square(10, category="cat")]
    detections = [
        _square(10, category="cat", score=0.9),
        _square(40, category="dog", score=0.8),
        _square(40, category="cow", score=0.7),
        _square(60, category="cat", score=0.6),
        _square(60, category="eel", score=0.5),
        _square(20, category="eel", score=0.4),
    ]
    rules = Rules(5, frozenset({"cat", "cow", "eel"}), frozenset({"cow"}))
    kinds = [one.kind for one in judge(objects, [], detections, rules)]
    # Nobody looked for dogs, of cows not all are annotated, and the sixth is beyond the limit of the image.
    assert kinds == [FOUND, UNCOUNTED, UNCOUNTED, FALSE, FALSE, UNCOUNTED]


def test_the_limit_is_of_a_class_without_lvis():
    detections = [_square(10 * n, category=1 + n % 2, score=0.9 - 0.1 * n) for n in range(4)]
    assert [one.kind for one in judge([], [], detections, Rules(1))] == [FALSE, FALSE, UNCOUNTED, UNCOUNTED]
