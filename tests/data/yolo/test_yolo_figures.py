"""A YOLO set made of the generated shapes gives the figures of the COCO form of it."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_library
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data.coco_json import to_rle
from bench.data.dataset import CocoDataset, check_images, load
from bench.evaluation.evaluators import HotcocoEvaluator
from bench.schema.config import DatasetConfig, ShapesConfig
from bench.schema.parts.accuracy import COCO_FIGURES


def outline(annotation: dict[str, Any], height: int, width: int) -> list[float]:
    """Give a polygon around a mask: down along the first pixels of its rows, and up along the last."""
    rows, columns = np.nonzero(mask_library.decode(to_rle(annotation["segmentation"], height, width)))
    edges = [(y, columns[rows == y].min(), columns[rows == y].max() + 1) for y in np.unique(rows)]
    down = [value for y, left, _ in edges for value in (left, y)]
    return down + [value for y, _, right in reversed(edges) for value in (right, y + 1)]


def converted(shapes: CocoDataset, folder: Path) -> tuple[DatasetConfig, DatasetConfig]:
    """Write the shapes as a YOLO set, and as a COCO file with the polygons that its rounded shares stand for."""
    polygons: dict[Any, list[tuple[int, list[str]]]] = {image.id: [] for image in shapes.images}
    sizes = {image.id: (image.height, image.width) for image in shapes.images}
    numbers = {category.id: number for number, category in enumerate(shapes.categories)}
    for annotation in shapes.annotations:
        height, width = sizes[annotation["image_id"]]
        points = outline(annotation, height, width)
        shares = [f"{value / (height if n % 2 else width):.6f}" for n, value in enumerate(points)]
        polygons[annotation["image_id"]].append((numbers[annotation["category_id"]], shares))
    (folder / "images").mkdir()
    (folder / "images" / "val").symlink_to(shapes.images[0].path.parent)
    (folder / "labels" / "val").mkdir(parents=True)
    names = [category.name for category in shapes.categories]
    (folder / "data.yaml").write_text(f"val: images/val\nnames: {names}\n")
    coco: dict[str, Any] = {"images": [], "annotations": []}
    coco["categories"] = [{"id": 10 + number, "name": name} for number, name in enumerate(names)]
    for image in shapes.images:
        lines = [f"{number} {' '.join(shares)}\n" for number, shares in polygons[image.id]]
        (folder / "labels" / "val" / f"{image.path.stem}.txt").write_text("".join(lines))
        entry = {"id": image.id, "file_name": image.path.name, "height": image.height, "width": image.width}
        coco["images"].append(entry)
        for number, shares in polygons[image.id]:
            edges = (image.width, image.height)
            polygon = [float(share) * edges[n % 2] for n, share in enumerate(shares)]
            entry = {"id": len(coco["annotations"]) + 1, "image_id": image.id, "category_id": 10 + number}
            area = int(mask_library.area(to_rle([polygon], image.height, image.width)))
            box = [float(v) for v in mask_library.toBbox(to_rle([polygon], image.height, image.width))]
            coco["annotations"].append(entry | {"segmentation": [polygon], "area": area, "bbox": box, "iscrowd": 0})
    (folder / "coco.json").write_text(json.dumps(coco))
    return (
        DatasetConfig(name="yolo", format="yolo", annotations=str(folder / "data.yaml")),
        DatasetConfig(name="coco", images=str(folder / "images" / "val"), annotations=str(folder / "coco.json")),
    )


def results_on(dataset: CocoDataset) -> list[dict[str, Any]]:
    """Give results whose category is a place among the categories: masks moved by up to three pixels, some missing."""
    rng, sizes = np.random.default_rng(3), {image.id: (image.height, image.width) for image in dataset.images}
    places = {category.id: place for place, category in enumerate(dataset.categories)}
    made = []
    for annotation in dataset.annotations:
        mask = mask_library.decode(to_rle(annotation["segmentation"], *sizes[annotation["image_id"]]))
        moved = np.asfortranarray(np.roll(mask, tuple(rng.integers(-3, 4, 2)), (0, 1)))
        rle = mask_library.encode(moved)
        place = places[annotation["category_id"]]
        if rng.uniform() < 0.8:
            made.append(
                {
                    **{"image_id": annotation["image_id"], "place": place, "score": float(rng.uniform())},
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    return made


def figures_of(dataset: CocoDataset, results: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    evaluator = HotcocoEvaluator(dataset)
    for image in dataset.images:
        of_image = [result for result in results if result["image_id"] == image.id]
        evaluator.update(image.id, [{**r, "category_id": dataset.categories[r["place"]].id} for r in of_image])
    return evaluator.figures()


def by_pycocotools(file: Path, results: list[dict[str, Any]]) -> dict[str, float | None]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"info": {}, **json.loads(file.read_text())}
        truth.createIndex()
        given = [{**{k: v for k, v in r.items() if k != "place"}, "category_id": 10 + r["place"]} for r in results]
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(given)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COCO_FIGURES, (v if v > -1 else None for v in evaluation.stats), strict=True))


def test_the_twelve_figures_are_those_of_the_coco_form(tmp_path: Path) -> None:
    shapes = load(DatasetConfig(name="shapes", shapes=ShapesConfig(count=8, cache=str(tmp_path / "shapes"))))
    yolo, coco = converted(shapes, tmp_path)
    as_yolo, as_coco = load(yolo), load(coco)
    assert [image.id for image in as_yolo.images] == [image.id for image in as_coco.images]
    assert [category.id for category in as_yolo.categories] == [0, 1, 2, 3, 4, 5]
    assert len(as_yolo.annotations) == len(as_coco.annotations) == len(shapes.annotations)
    check_images(as_yolo)
    results = results_on(as_coco)
    expected, of_classes = figures_of(as_coco, results)
    assert 0.1 < expected["mask_ap"] < 0.9
    assert figures_of(as_yolo, results) == (expected, of_classes)
    by_the_referee = by_pycocotools(tmp_path / "coco.json", results)
    assert {name: pytest.approx(value, abs=1e-9) for name, value in expected.items() if value is not None} == {
        name: value for name, value in by_the_referee.items() if value is not None
    }
