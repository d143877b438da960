"""Sets whose files have the same names and sizes, and show other things, as clean images and corrupted ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.dataset import digest, load
from bench.schema.config import DatasetConfig

NAMES = ("1", "2", "3")


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    images = [{"id": int(name), "file_name": f"{name}.bmp", "height": 200, "width": 300} for name in NAMES]
    square = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]]}
    content = {"images": images, "annotations": [square], "categories": [{"id": 1, "name": "cat"}]}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    return path


def written(folder: Path, *, negative: str | None = None) -> Path:
    """Write uncompressed images of 180 kB, one of them as its negative."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in NAMES:
        pixels = random.integers(0, 256, (200, 300, 3), dtype=np.uint8)
        Image.fromarray(255 - pixels if name == negative else pixels).save(folder / f"{name}.bmp")
    return folder


def digest_of(images: Path, annotations: Path) -> str:
    return digest(load(DatasetConfig("d", images=str(images), annotations=str(annotations))))


@pytest.mark.parametrize("negative", NAMES)
def test_one_image_of_the_same_size_makes_another_set(tmp_path: Path, annotations: Path, negative: str) -> None:
    clean, other = written(tmp_path / "A"), written(tmp_path / "B", negative=negative)
    sizes = [[(path.name, path.stat().st_size) for path in sorted(folder.iterdir())] for folder in (clean, other)]
    assert sizes[0] == sizes[1]
    assert digest_of(clean, annotations) != digest_of(other, annotations)


def test_a_copy_is_the_same_set(tmp_path: Path, annotations: Path) -> None:
    clean = written(tmp_path / "A")
    shutil.copytree(clean, tmp_path / "copy", copy_function=shutil.copyfile)
    assert digest_of(clean, annotations) == digest_of(tmp_path / "copy", annotations)


def test_two_images_that_changed_places_make_another_set(tmp_path: Path, annotations: Path) -> None:
    clean, swapped = written(tmp_path / "A"), written(tmp_path / "B")
    (swapped / "1.bmp").rename(swapped / "0.bmp")
    (swapped / "2.bmp").rename(swapped / "1.bmp")
    (swapped / "0.bmp").rename(swapped / "2.bmp")
    assert digest_of(clean, annotations) != digest_of(swapped, annotations)
