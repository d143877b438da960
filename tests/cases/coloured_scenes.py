"""Images with one rectangle of a colour for every label, as training examples of the transformers adapter."""

from __future__ import annotations

import numpy as np
import torch

from bench.predictor import Target


def scene(height: int, width: int, labels: tuple[int, ...], unit: int) -> tuple[np.ndarray, Target]:
    """Give a noisy image, uint8 (height, width, 3), and its rectangles, whose corners are multiples of ``unit``."""
    image = np.random.default_rng(0).integers(0, 60, (height, width, 3), dtype=np.uint8)
    masks = torch.zeros(len(labels), height, width, dtype=torch.bool)
    boxes = unit * torch.tensor([[1.0 + 4 * i, 2, 4 + 4 * i, 8 - 2 * i] for i in range(len(labels))])
    for mask, (x1, y1, x2, y2), label in zip(masks, boxes.int().tolist(), labels, strict=True):
        mask[y1:y2, x1:x2] = True
        image[mask.numpy(), label] = 250
    return image, Target(masks, boxes, torch.tensor(labels))
