"""A federated set made by hand: rectangles as masks, with every rule of LVIS at work."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as mask_library

SIZE = 128
"""Height and width of every image, in pixels."""

CATEGORIES = {1: "f", 2: "c", 3: "r", 4: "f", 7: "c", 9: "r"}
"""Frequency by id. Of the last, no image has an object."""


def rle(x: int, y: int, w: int, h: int) -> dict[str, Any]:
    pixels = np.zeros((SIZE, SIZE), np.uint8, order="F")
    pixels[y : y + h, x : x + w] = 1
    made = mask_library.encode(pixels)
    return {"size": made["size"], "counts": made["counts"].decode()}


def by_hand(images: int = 8, seed: int = 5, crowded: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give an LVIS object and results of it: near copies of objects, and detections where nothing is.

    crowded: so many results more in the first image, of a category that counts there
    """
    rng = np.random.default_rng(seed)
    ids = list(CATEGORIES)
    truth: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    truth["categories"] = [{"id": k, "name": f"class {k}", "frequency": word} for k, word in CATEGORIES.items()]
    results: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        there = [int(k) for k in rng.choice(ids[:-1], size=2, replace=False)]
        others = [k for k in ids if k not in there]
        absent = [int(k) for k in rng.choice(others, size=2, replace=False)]
        incomplete = [there[0], absent[0]] if image % 2 else []
        truth["images"].append(
            {
                **{"id": image, "height": SIZE, "width": SIZE, "coco_url": f"http://host/val2017/{image}.jpg"},
                **{"neg_category_ids": absent, "not_exhaustive_category_ids": incomplete},
            }
        )
        for number in range(5):
            x, y = (int(v) for v in rng.integers(0, 60, 2))
            w, h = (int(v) for v in rng.integers(8, 64, 2))
            category = there[number % 2]
            truth["annotations"].append(
                {
                    **{"id": len(truth["annotations"]) + 1, "image_id": image, "category_id": category},
                    **{"segmentation": rle(x, y, w, h), "area": w * h, "bbox": [x, y, w, h]},
                }
            )
            found = rle(x + int(rng.integers(0, 3)), y, w, h + int(rng.integers(0, 4)))
            results.append(_result(image, category, found, rng))
        for category in ids:
            x, y = (int(v) for v in rng.integers(0, 60, 2))
            results.append(_result(image, category, rle(x, y, *(int(v) for v in rng.integers(8, 64, 2))), rng))
    for _ in range(crowded):
        x, y = (int(v) for v in rng.integers(0, 100, 2))
        category = truth["annotations"][0]["category_id"]
        results.append(_result(1, category, rle(x, y, 9, 9), rng))
    return truth, results


def _result(image: int, category: int, segmentation: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    score = round(float(rng.uniform(0.05, 0.95)), 4)
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "score": score}
