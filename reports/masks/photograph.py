"""Photographs at the size of a drawing, read as the model's were."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bench.data.images import ImageRecord, read_image


def drawing_size(height: int, width: int, most: int) -> tuple[int, int]:
    """The height and the width at which an image is drawn: its own, or smaller with the longer side of ``most``."""
    scale = min(1.0, most / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def read_photograph(record: ImageRecord, most: int) -> np.ndarray:
    """Read an image for a drawing of ``most`` pixels along the longer side, uint8 RGB (H, W, 3).

    Only one image at a time is in memory at its full size.

    Raises:
        UserError: see :func:`bench.data.images.read_image`.
    """
    pixels = read_image(record)
    height, width = drawing_size(record.height, record.width, most)
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height)))
