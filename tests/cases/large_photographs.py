"""Write a run on large photographs: a set of JPEG files, and models that find its objects nearly where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from literal_results import build_result, with_worst_images
from PIL import Image
from pycocotools import mask as coco_mask

from bench.schema.result import write_result


def write_run(folder: Path, size: tuple[int, int], images: int, objects: int, models: int) -> Path:
    """Write ``images`` photographs of ``size`` (height, width) and a run on them, and give the run's folder.

    Each image has ``objects`` wavy outlines, and each model a result for each of them, a few pixels away from it.
    """
    dataset = _write_set(folder / "data", size, images, objects)
    run = folder / "run"
    for number in range(models):
        result = build_result(f"M{number}", mask_ap=0.3, dataset=dataset)
        result = with_worst_images(result, [*range(1, images + 1)])
        job = run / "jobs" / f"job{number}"
        write_result(result, job / "result.json")
        _write_predictions(job / "predictions.json", size, images, objects, shift=3 * number)
    return run


def _write_set(folder: Path, size: tuple[int, int], images: int, objects: int) -> dict[str, Any]:
    height, width = size
    (folder / "images").mkdir(parents=True)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    data: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": c, "name": f"c{c}"} for c in (1, 2)]}
    for image in range(1, images + 1):
        waves = np.stack([rows / 9 + image, columns / 7, (rows + columns) / 23], axis=-1)
        pixels = (128 + 100 * np.sin(waves)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{image}.jpg", quality=85)
        data["images"].append({"id": image, "file_name": f"{image}.jpg", "height": height, "width": width})
        for number in range(objects):
            entry = {"id": len(data["annotations"]) + 1, "image_id": image, "category_id": 1 + number % 2}
            data["annotations"].append(entry | {"segmentation": [_outline(size, image, number)], "iscrowd": 0})
    (folder / "instances.json").write_text(json.dumps(data))
    return {"name": "large", "images": str(folder / "images"), "annotations": str(folder / "instances.json")}


def _write_predictions(path: Path, size: tuple[int, int], images: int, objects: int, shift: int) -> None:
    lines = []
    for image in range(1, images + 1):
        for number in range(objects):
            (rle,) = coco_mask.frPyObjects([_outline(size, image, number, shift)], *size)
            segmentation = {"size": list(size), "counts": rle["counts"].decode()}
            entry = {"image_id": image, "category_id": 1 + number % 2, "segmentation": segmentation}
            lines.append(json.dumps({**entry, "score": 0.99 - 0.4 * number / objects}))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def _outline(size: tuple[int, int], image: int, number: int, shift: int = 0) -> list[float]:
    """Give the polygon of one object: from a thirtieth to a fifth of the image across, with a wave along its edge."""
    rng = np.random.default_rng((image, number))
    edge = min(size) * rng.uniform(0.03, 0.2) / 2
    centre = rng.uniform((edge, edge), (size[1] - edge, size[0] - edge)) + shift
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radius = edge * (1 + 0.1 * np.sin(9 * angle))
    points = centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return [float(v) for v in points.clip(0, (size[1], size[0])).round(1).ravel()]
