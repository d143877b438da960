"""Detections on images of 40 x 60 pixels, as lines of a COCO results file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

SHAPE = (40, 60)


def square(left: int) -> dict[str, Any]:
    """Give the RLE of a square of ten pixels, from row 10 on."""
    mask = np.zeros(SHAPE, dtype=np.uint8, order="F")
    mask[10:20, left : left + 10] = 1
    return {"size": list(SHAPE), "counts": coco_mask.encode(mask)["counts"].decode()}


def detection(image_id: Any, left: int, score: float, category: Any = 1) -> str:
    """Give the text of one detection."""
    return json.dumps({"image_id": image_id, "category_id": category, "segmentation": square(left), "score": score})
