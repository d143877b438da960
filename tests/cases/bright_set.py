"""A data set of dark images with one bright rectangle each, which the toy classes of ``habits`` find exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.data.dataset import CocoDataset, from_coco


def bright_set(folder: Path, count: int, size: tuple[int, int] | None = None) -> CocoDataset:
    """Write ``count`` images, and give the set.

    Images differ in place and size of the rectangle and in brightness; without ``size`` (height, width) also in size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        height, width = size or (48 + 7 * (number % 5), 64 + 11 * (number % 3))
        top, left, rows, columns = 3 + number % 9, 4 + number % 7, 12 + number % 11, 14 + number % 13
        dark = 5 * (number % 20)
        pixels = np.full((height, width, 3), dark, np.uint8)
        pixels[top : top + rows, left : left + columns] = dark + 100
        Image.fromarray(pixels).save(folder / f"{number}.png")
        right, bottom = left + columns, top + rows
        images.append({"id": number, "file_name": f"{number}.png", "height": height, "width": width})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 7,
                "iscrowd": 0,
                "area": rows * columns,
                "bbox": [left, top, columns, rows],
                "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
            }
        )
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "circle"}]}
    return from_coco("bright", truth, folder, folder / "truth.json", sha256="")
