"""Give the photographs on which every adapter is tested."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COCO = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "coco_val_cc" / "images"


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """Give a wide and a tall photograph, uint8 RGB: of COCO where it lies beside the checkout, else of scikit-image."""
    if COCO.is_dir():
        images = [Image.open(path).convert("RGB") for path in sorted(COCO.glob("*.jpg"))]
        lying = next(image for image in images if image.height < image.width)
        upright = next(image for image in images if image.height > image.width)
    else:
        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            pytest.skip(f"no photographs in {COCO}, and no scikit-image, which carries some")
        carried = Path(spec.origin).parent / "data"
        lying = Image.open(carried / "coffee.png").convert("RGB").crop((33, 0, 566, 400))
        upright = Image.open(carried / "astronaut.png").convert("RGB").crop((64, 0, 448, 512))
    return [np.array(lying), np.array(upright)]
