"""What would mislead a reader of a set's AP is told, and what would not is not."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluator_cases import rle_of
from pycocotools import mask as mask_api

from bench.data.cautions import cautions, ceiling, why_no_ap
from bench.data.dataset import CocoDataset, from_coco, load
from bench.schema.config import DatasetConfig, ShapesConfig

ROOT = Path(__file__).resolve().parents[2]
COCO = ROOT / ".." / "shared" / "data" / "coco_val_cc"
SETS = ROOT / ".." / "shared" / "cases" / "data"


def square(x: int, y: int, side: int, **changes: Any) -> dict[str, Any]:
    """Make an annotation of category 1 in image 1."""
    right, bottom = x + side, y + side
    return {
        **{"id": 0, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": side * side, "bbox": [x, y, side, side]},
        "segmentation": [[x, y, right, y, right, bottom, x, bottom]],
        **changes,
    }


def dataset_of(
    annotations: list[dict[str, Any]], images: int = 1, categories: int = 1, limit: int | None = None
) -> CocoDataset:
    data = {
        "images": [{"id": n, "height": 400, "width": 400, "file_name": f"{n}.jpg"} for n in range(1, images + 1)],
        "annotations": [{**a, "id": number} for number, a in enumerate(annotations, start=1)],
        "categories": [{"id": n, "name": f"class {n}"} for n in range(1, categories + 1)],
    }
    return from_coco("case", copy.deepcopy(data), Path("images"), Path("a.json"), sha256="", limit=limit)


def squares(count: int, side: int = 10, **changes: Any) -> list[dict[str, Any]]:
    return [square(15 * (n % 25), 15 * (n // 25), side, **changes) for n in range(count)]


def test_nothing_is_said_of_a_plain_set() -> None:
    assert cautions(dataset_of(squares(100)), 100) == []


def test_all_crowds() -> None:
    dataset = dataset_of(squares(20, iscrowd=1))
    [text] = cautions(dataset, 100)
    assert text.startswith("mask AP is empty: all 20 annotations are crowds (iscrowd: 1)")
    assert "write iscrowd: 0; ignored regions come of dataset.without_mask=ignore" in text
    assert why_no_ap(dataset) in text


@pytest.mark.parametrize(("crowds", "told"), [(10, True), (2, True), (1, False), (0, False)])
def test_a_share_of_crowds(crowds: int, told: bool) -> None:
    annotations = squares(20)
    for annotation in annotations[:crowds]:
        annotation["iscrowd"] = 1
    found = cautions(dataset_of(annotations), 100)
    assert [text.startswith(f"{crowds} of 20 annotations are crowds (iscrowd: 1)") for text in found] == [True] * told


def test_one_crowd_of_a_hundred_is_no_news() -> None:
    annotations = squares(100)
    annotations[0]["iscrowd"] = 1
    assert cautions(dataset_of(annotations), 100) == []


def test_no_annotation() -> None:
    assert cautions(dataset_of([], images=3), 100) == ["mask AP is empty: none of the 3 images has an annotation"]
    assert cautions(dataset_of([square(0, 0, 9, image_id=3)], images=3, limit=2), 100) == [
        "mask AP is empty: none of the 2 images evaluated has an annotation, of 3 in the set; give dataset.limit=null "
        "for all"
    ]
    assert why_no_ap(dataset_of([square(0, 0, 9)])) is None


def test_more_objects_than_the_limit() -> None:
    """c20: 400 objects in each of two images; a quarter can be found, 26 of 101 recall points."""
    annotations = squares(400) + squares(400, image_id=2)
    [text] = cautions(dataset_of(annotations, images=2), 100)
    assert text == (
        "100 detections an image: AP cannot exceed 25.7, since 2 of 2 images have more objects (up to 400); a model "
        "gives at most 100 an image over all categories, and so can find 200 of 800; protocol.max_detections=1000 "
        "counts them all"
    )
    assert cautions(dataset_of(annotations, images=2), 400) == []
    assert cautions(dataset_of(annotations, images=2), 1000) == []


def test_crowds_are_not_counted_as_objects() -> None:
    annotations = squares(100) + squares(4, iscrowd=1)
    assert cautions(dataset_of(annotations), 100) == []


def test_more_objects_than_a_model_gives_over_all_categories() -> None:
    annotations = squares(60) + squares(60, category_id=2)
    [text] = cautions(dataset_of(annotations, images=3, categories=2), 100)
    assert text == (
        "100 detections an image: 1 of 3 images has more objects (up to 120); a model gives at most 100 an image over "
        "all categories, and so can find 100 of 120; protocol.max_detections=1000 counts them all"
    )


@pytest.mark.parametrize(
    ("objects", "limit", "points"),
    [
        ({(1, 1): 400, (1, 2): 400}, 100, 26),  # recall 0.25, the points 0, 0.01, ..., 0.25
        ({(1, 1): 100}, 100, 101),
        ({(1, 1): 300, (1, 2): 100}, 100, 51),
        ({(1, 1): 400, (2, 1): 10}, 100, (26 + 101) / 2),
        ({(1, 1): 3}, 2, 67),
    ],
)
def test_the_ceiling_in_closed_form(objects: dict[Any, int], limit: int, points: float) -> None:
    assert ceiling(objects, limit) == pytest.approx(points / 101)


def test_categories_without_an_object() -> None:
    annotations = [*squares(20), square(300, 300, 10, category_id=2, iscrowd=1)]
    [text] = cautions(dataset_of(annotations, categories=5), 100)
    assert text == (
        "4 of 5 categories have no object in the images evaluated: they have no AP, and mask AP is the mean of the "
        "other 1"
    )


@pytest.mark.parametrize("form", ["polygons", "compressed", "runs"])
def test_annotations_that_stand_there_twice(form: str) -> None:
    def drawn(annotation: dict[str, Any]) -> dict[str, Any]:
        if form == "polygons":
            return annotation
        rle = mask_api.frPyObjects(annotation["segmentation"], 400, 400)[0]
        counts = rle["counts"].decode()
        if form == "runs":
            pixels = mask_api.decode(rle).T.reshape(-1)
            changes = np.flatnonzero(np.diff(pixels)) + 1
            counts = np.diff([0, *changes, len(pixels)]).tolist()
            counts = [0, *counts] if pixels[0] else counts
        return {**annotation, "segmentation": {"size": [400, 400], "counts": counts}}

    annotations = [drawn(a) for a in squares(20)]
    other = [drawn(a) for a in squares(2, category_id=2)] + [drawn(a) for a in squares(2, image_id=2)]
    assert cautions(dataset_of(annotations + other, images=2, categories=2), 100) == []
    [text] = cautions(dataset_of(annotations + other + annotations[:3], images=2, categories=2), 100)
    assert text.startswith("3 of 27 annotations repeat another one (the same mask and category in one image)")


def test_polygons_that_differ_in_the_last_number_are_two() -> None:
    """Python has one hash for -1 and -2."""
    one, other = square(0, 0, 30), square(0, 0, 30)
    one["segmentation"][0][-1], other["segmentation"][0][-1] = -1, -2
    assert not any("repeat" in text for text in cautions(dataset_of([one, other]), 100))


def test_areas_that_are_not_those_of_the_masks() -> None:
    """Masks of 40 x 40 pixels are medium; with an area of 0 they are small."""
    annotations = squares(20, side=40)
    assert cautions(dataset_of(annotations), 100) == []
    for annotation in annotations[:2]:
        annotation["area"] = 0
    [text] = cautions(dataset_of(annotations), 100)
    assert text.startswith("the area of 2 of 20 objects is not that of the mask, so that they count as another size")
    for annotation in annotations:  # wrong, but of the same size
        annotation["area"] = 3000
    assert cautions(dataset_of(annotations), 100) == []
    for annotation in annotations:
        del annotation["area"]
    assert cautions(dataset_of(annotations), 100) == []


def test_areas_of_boxes() -> None:
    """A disc of 34 pixels across has about 900 pixels and is small; its box has 1,156, which would be medium."""
    y, x = np.ogrid[:400, :400]
    annotations = []
    for n in range(30):
        disc = (y - 50 - 5 * n) ** 2 + (x - 200) ** 2 < 17**2
        annotations.append({**square(0, 0, 34), "segmentation": rle_of(disc), "area": 34 * 34})
    [text] = cautions(dataset_of(annotations), 100)
    assert text.startswith("the area of 30 of 30 objects is not that of the mask")


def test_few_images_with_annotations() -> None:
    annotations = squares(20)
    assert cautions(dataset_of(annotations, images=10), 100) == []
    [text] = cautions(dataset_of(annotations, images=11), 100)
    assert text.startswith("1 of 11 images has annotations: every detection in the others is wrong")


@pytest.mark.parametrize("count", [3, 12])
def test_the_generated_shapes_are_silent(count: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = str(tmp_path_factory.getbasetemp() / "shapes")
    assert cautions(load(DatasetConfig(name="shapes", shapes=ShapesConfig(count=count, cache=cache))), 100) == []


@pytest.mark.skipif(not COCO.exists(), reason="the COCO annotations are not beside this checkout")
def test_of_cocos_own_photographs_only_the_unused_categories_are_told() -> None:
    """The sample has 59 of COCO's images, and 60 of its 80 categories; the whole set has all."""
    dataset = load(DatasetConfig(name="coco", images=str(COCO / "images"), annotations=str(COCO / "instances.json")))
    [text] = cautions(dataset, 100)
    assert text.startswith("20 of 80 categories have no object in the images evaluated")
    used = {a["category_id"] for a in dataset.annotations}
    whole = dataclasses.replace(dataset, categories=tuple(c for c in dataset.categories if c.id in used))
    assert cautions(whole, 100) == []


@pytest.mark.skipif(not COCO.exists(), reason="the COCO annotations are not beside this checkout")
def test_a_set_of_the_size_of_val2017_takes_no_longer_than_its_loading() -> None:
    data = json.loads((COCO / "instances.json").read_text())
    names = {i["id"]: i["file_name"] for i in data["images"]}
    images = [
        {**i, "id": i["id"] + k * 10**7, "file_name": f"{k}/{names[i['id']]}"}
        for k in range(68)
        for i in data["images"]
    ]
    annotations = [{**a, "image_id": a["image_id"] + k * 10**7} for k in range(68) for a in data["annotations"]]
    large = {"images": images, "annotations": annotations, "categories": data["categories"]}
    dataset = from_coco("large", large, Path("images"), Path("a.json"), sha256="")
    began = time.process_time()
    assert len(cautions(dataset, 100)) == 1
    assert time.process_time() - began < 2  # 0.2 to 0.4 s here


@pytest.mark.skipif(not SETS.exists(), reason="the sets of other tools are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("c00_plain/annotations.json", []),
        ("c05_all_crowd/annotations.json", ["mask AP is empty: all 20 annotations are crowds"]),
        ("c05_all_crowd/annotations_half.json", ["10 of 20 annotations are crowds"]),
        ("c18_ignore/annotations.json", []),
        ("c20_dense/annotations.json", ["100 detections an image: AP cannot exceed 25.7,"]),
        (
            "c32_category_ids/annotations.json",
            ["1 of 4 categories has no object in the images evaluated: it has no AP"],
        ),
    ],
)
def test_the_sets_of_other_tools(name: str, told: list[str]) -> None:
    path = SETS / name
    dataset: CocoDataset = load(DatasetConfig(name="set", images=str(path.parent / "images"), annotations=str(path)))
    found = cautions(dataset, 100)
    assert len(found) == len(told)
    assert all(text.startswith(beginning) for text, beginning in zip(found, told, strict=True))


@pytest.mark.parametrize(("scale", "what"), [(1 / 400, "shares"), (1 / 4, "percent")])
def test_coordinates_that_are_shares_of_the_image(scale: float, what: str) -> None:
    """A set converted from YOLO gave AP 0.0 to right results, with no word."""
    annotations = squares(20, segmentation=None)
    for annotation, whole in zip(annotations, squares(20), strict=True):
        annotation["segmentation"] = [[scale * value for value in whole["segmentation"][0]]]
        annotation["area"] = 100 * scale * scale
    [text] = [text for text in cautions(dataset_of(annotations), 100) if "no polygon reaches beyond" in text]
    assert f"if the coordinates are {what}" in text
    assert not any("no polygon reaches" in text for text in cautions(dataset_of(squares(20)), 100))


def test_objects_without_a_pixel() -> None:
    annotations = squares(20)
    for place, annotation in enumerate(annotations[:2]):
        annotation["segmentation"] = [[900, 900, 910 + place, 900, 910, 910]]
    [text] = cautions(dataset_of(annotations), 100)
    assert text.startswith("2 of 20 objects have a mask without a pixel")
    assert cautions(dataset_of([annotations[1], *squares(99)[20:]]), 100) == []


def test_one_file_under_two_entries() -> None:
    dataset = dataset_of([square(0, 0, 9), square(0, 0, 9, image_id=2)], images=2)
    assert cautions(dataset, 100) == []
    dataset.images = tuple(dataclasses.replace(image, path=Path("a.jpg")) for image in dataset.images)
    [text] = cautions(dataset, 100)
    assert text.startswith("1 of 2 images is the file of another entry")
