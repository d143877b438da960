"""A run whose rows have real predictions on generated images: objects moved, missed, named wrongly, and noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from literal_results import build_result
from pycocotools import mask as coco_mask

from bench.data.shapes.generate import generate
from bench.schema.config import ShapesConfig
from bench.schema.result import write_result


def write_masks_study(
    folder: Path, models: int, images: int = 8, classes: int | None = None, ms: Sequence[float] | None = None
) -> Path:
    """Write the images, and a run of so many models that gets worse from the first to the last; give the run.

    classes: so many there are left of the six; all become the first ones
    ms: the latency of each model; None is that of :func:`build_result`
    """
    data = folder / "data"
    (data / "images").mkdir(parents=True)
    generate(ShapesConfig(count=images, seed=3), data)
    file = next(data.glob("*.json"))
    content = json.loads(file.read_text())
    if classes:
        content["categories"] = content["categories"][:classes]
        for one in content["annotations"]:
            one["category_id"] = content["categories"][one["category_id"] % classes]["id"]
        file.write_text(json.dumps(content))
    dataset = {"name": "shapes", "images": str(next(p for p in data.iterdir() if p.is_dir())), "annotations": str(file)}
    dataset["limit"] = None  # type: ignore[assignment]
    run = folder / "run"
    for number in range(models):
        timed = {"model_ms": [ms[number] * share for share in (0.99, 1.0, 1.01)] * 12} if ms else {}
        result = build_result(f"Model {number}", mask_ap=0.5 - 0.4 * number / models, dataset=dataset, **timed)
        job = run / "jobs" / f"job{number}"
        write_result(result, job / "result.json")
        lines = ",\n".join(map(json.dumps, predictions(content, number, models)))
        (job / "predictions.json").write_text(f"[\n{lines}\n]\n")
    return run


def predictions(content: dict[str, Any], number: int, models: int) -> list[dict[str, Any]]:
    """What the model of this number predicts."""
    rng = np.random.default_rng(number)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    ids = [category["id"] for category in content["categories"]]
    badness = (number + 1) / (models + 1)
    results = []
    for one in content["annotations"]:
        if rng.random() < 0.5 * badness:
            continue
        height, width = sizes[one["image_id"]]
        mask = decoded(one["segmentation"], height, width)
        mask = np.roll(mask, rng.integers(-1, 2 + int(14 * badness), 2), (0, 1))
        category = one["category_id"] if rng.random() > 0.4 * badness else int(rng.choice(ids))
        results.append(_result(one["image_id"], category, mask, float(rng.uniform(0.2, 1))))
    for image_id, (height, width) in sizes.items():
        if rng.random() < badness:
            mask = np.zeros((height, width), bool)
            top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
            mask[top : top + height // 4, left : left + width // 5] = True
            results.append(_result(image_id, int(rng.choice(ids)), mask, float(rng.uniform(0.2, 0.9))))
    return results


def decoded(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Decode a segmentation of any form by pycocotools: bool (H, W)."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(segmentation).astype(bool)


def _result(image_id: int, category_id: int, mask: np.ndarray, score: float) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode()}
    return {"image_id": image_id, "category_id": category_id, "segmentation": segmentation, "score": score}
