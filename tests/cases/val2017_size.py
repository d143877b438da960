"""A data set and results of the size of COCO val2017: 5,000 images of 640x480, 36,700 objects, 180,000 detections.

Objects are star-shaped polygons of 24 points. Most detections are copies of an object, moved and scaled a little, one
in six of them under another category; the others lie anywhere. The RLE of a mask takes about 220 bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 480, 640
SIZE = np.array([WIDTH, HEIGHT], np.float64)
CATEGORIES = 80
OBJECTS_AN_IMAGE, DETECTIONS_AN_IMAGE, COPIES_AN_IMAGE = 7.34, 36, 30
POINTS = 24
CROWDS = 0.012

Coco = dict[str, Any]


class LargeSet(NamedTuple):
    """The two files, and how many there are of what."""

    annotations: Path
    results: Path
    images: int
    objects: int
    detections: int


def write_set(folder: Path, images: int = 5000, seed: int = 0) -> LargeSet:
    """Write ``instances.json`` and ``results.json`` into a folder; the same content for the same numbers."""
    rng = np.random.default_rng(seed)
    number = rng.poisson(OBJECTS_AN_IMAGE, images)
    image_of = np.repeat(np.arange(images), number)
    shapes, categories = _shapes(rng, len(image_of)), _categories(rng, len(image_of))
    crowd = rng.random(len(image_of)) < CROWDS
    truth = {
        "info": {},
        "images": [
            {"id": n, "file_name": f"{n:012}.jpg", "height": HEIGHT, "width": WIDTH} for n in range(1, 1 + images)
        ],
        "annotations": _annotations(image_of, shapes, categories, crowd),
        "categories": [{"id": n, "name": f"class {n}"} for n in range(1, 1 + CATEGORIES)],
    }
    results = _results(rng, number, shapes, categories)
    annotations_path, results_path = folder / "instances.json", folder / "results.json"
    annotations_path.write_text(json.dumps(truth))
    results_path.write_text(json.dumps(results))
    return LargeSet(annotations_path, results_path, images, len(image_of), len(results))


def _categories(rng: np.random.Generator, count: int) -> np.ndarray:
    share = 1 / np.arange(1, CATEGORIES + 1) ** 0.7
    return rng.choice(CATEGORIES, count, p=share / share.sum()) + 1


def _shapes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Give the points of shapes in the image, float64 (count, POINTS, 2); one in three is smaller than 32 x 32."""
    reach = np.clip(np.exp(rng.normal(3.5, 0.95, (count, 1))), 4, 260)
    turns = np.sort(rng.random((count, POINTS)), axis=1) * 2 * np.pi
    radii = reach * (0.8 + 0.2 * rng.random((count, POINTS)))
    radii *= 1 + 0.3 * np.cos(2 * turns + 6 * rng.random((count, 1)))
    points = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * radii[..., None]
    return np.clip(points + rng.random((count, 1, 2)) * SIZE, 0, SIZE)


def _annotations(image_of: np.ndarray, shapes: np.ndarray, categories: np.ndarray, crowd: np.ndarray) -> list[Coco]:
    x, y = shapes[..., 0], shapes[..., 1]
    areas = np.abs((x * np.roll(y, 1, axis=1) - y * np.roll(x, 1, axis=1)).sum(axis=1)) / 2
    low, high = shapes.min(axis=1), shapes.max(axis=1)
    boxes = np.concatenate([low, high - low], axis=1)
    polygons = np.round(shapes, 2).reshape(len(shapes), -1)
    return [
        {
            "id": n + 1,
            "image_id": int(image_of[n]) + 1,
            "category_id": int(categories[n]),
            "iscrowd": int(crowd[n]),
            "segmentation": _rles(shapes[n : n + 1])[0] if crowd[n] else [polygons[n].tolist()],
            "area": round(float(areas[n]), 2),
            "bbox": np.round(boxes[n], 2).tolist(),
        }
        for n in range(len(shapes))
    ]


def _results(rng: np.random.Generator, number: np.ndarray, shapes: np.ndarray, categories: np.ndarray) -> list[Coco]:
    """Give the detections of every image, of which at most three copy each object."""
    results = []
    ends = np.cumsum(number)
    for image, (end, objects) in enumerate(zip(ends, number, strict=True)):
        copies = min(3 * int(objects), COPIES_AN_IMAGE)
        others = DETECTIONS_AN_IMAGE - copies
        of = np.arange(copies) % max(1, objects) + end - objects
        away = 0.02 + 0.1 * (np.arange(copies) // max(1, objects)) * rng.random(copies)
        copied, scores = _copied(rng, shapes[of], away)
        category = np.where(rng.random(copies) < 1 / 6, _categories(rng, copies), categories[of])
        rles = _rles(np.concatenate([copied, _shapes(rng, others)]))
        every = np.concatenate([category, _categories(rng, others)]).tolist()
        scores = np.concatenate([scores, np.clip(rng.exponential(0.12, others), 0.01, 0.9)])
        results += [
            {"image_id": image + 1, "category_id": kind, "segmentation": rle, "score": score}
            for kind, rle, score in zip(every, rles, scores.tolist(), strict=True)
        ]
    return results


def _copied(rng: np.random.Generator, shapes: np.ndarray, away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move and scale shapes by about so much of their size; give also scores that fall with it."""
    middle, size = shapes.mean(axis=1, keepdims=True), np.ptp(shapes, axis=1, keepdims=True)
    scale, move = rng.normal(size=(2, len(shapes), 1, 2)) * away[:, None, None]
    moved = np.clip((shapes - middle) * (1 + scale) + middle + size * move, 0, SIZE)
    return moved, np.clip(rng.normal(0.75 - 2 * away, 0.15), 0.01, 0.999)


def _rles(shapes: np.ndarray) -> list[Coco]:
    rles = coco_mask.frPyObjects(shapes.reshape(len(shapes), -1).tolist(), HEIGHT, WIDTH)
    return [{"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode("ascii")} for rle in rles]
