"""Write runs made of literal numbers as ``result.json`` files, by ``bench.schema.result`` itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from literal_results import build_result
from PIL import Image

from bench.schema.result import Result, write_result


@pytest.fixture
def make_result() -> Callable[..., Result]:
    return build_result


@pytest.fixture
def write_run() -> Callable[..., Path]:
    def write(folder: Path, results: Sequence[Result]) -> Path:
        """Write a run's folder with one job a result, named job0, job1, ..."""
        for number, result in enumerate(results):
            write_result(result, folder / "jobs" / f"job{number}" / "result.json")
        return folder

    return write


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> dict[str, Any]:
    """Write four images of 40 x 60 pixels: one without annotations, the others with two squares and a crowd each."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for image_id in (1, 2, 3, 4):
        name = f"{image_id}.jpg"
        Image.fromarray(np.full((40, 60, 3), 40 * image_id, dtype=np.uint8)).save(folder / "images" / name)
        images.append({"id": image_id, "file_name": name, "height": 40, "width": 60})
        if image_id == 2:
            continue
        for category, left, crowd in ((1, 5, 0), (2, 30, 0), (1, 50, 1)):
            square = [left, 10, left + 8, 10, left + 8, 18, left, 18]
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, "category_id": category})
            annotations[-1] |= {"segmentation": [square], "iscrowd": crowd, "area": 64, "bbox": [left, 10, 8, 8]}
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]
    file = folder / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return {"name": "tiny", "images": str(folder / "images"), "annotations": str(file)}
