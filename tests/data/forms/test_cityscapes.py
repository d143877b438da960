"""Cityscapes, as mmdetection's converter writes it, is plain COCO."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as mask_library

from bench.data.dataset import check_images, load
from bench.schema.config import DatasetConfig


def test_the_usual_conversion_is_plain_coco(tmp_path: Path) -> None:
    """Names with the folder of a city, a key ``segm_file``, ids of classes from 24 on, RLE, groups as crowds."""
    name = "frankfurt/frankfurt_000000_000294_leftImg8bit.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    (tmp_path / "leftImg8bit/val/frankfurt").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "leftImg8bit/val" / name)
    mask = np.zeros((40, 80), np.uint8, order="F")
    mask[10:20, 30:50] = 1
    rle = mask_library.encode(mask)
    rle = {"size": [int(edge) for edge in rle["size"]], "counts": rle["counts"].decode()}
    annotation = {"image_id": 0, "bbox": [30.0, 10.0, 20.0, 10.0], "area": 200, "segmentation": rle}
    converted = {
        "images": [{"id": 0, "file_name": name, "height": 40, "width": 80, "segm_file": "frankfurt/x_labelIds.png"}],
        "annotations": [{"id": k, **annotation, "iscrowd": k, "category_id": (26, 24)[k]} for k in (0, 1)],
        "categories": [{"id": 24, "name": "person"}, {"id": 26, "name": "car"}],
    }
    file = tmp_path / "instancesonly_filtered_gtFine_val.json"
    file.write_text(json.dumps(converted))
    config = DatasetConfig(name="coco", images=str(tmp_path / "leftImg8bit/val"), annotations=str(file), strict=True)
    dataset = load(config)
    assert check_images(dataset) == []
    assert dataset.notes == ()
    assert dataset.class_names == ("person", "car")
    assert [(a["category_id"], a["iscrowd"], a["area"]) for a in dataset.annotations] == [(26, 0, 200), (24, 1, 200)]
