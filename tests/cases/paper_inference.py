"""The papers' inference on a network's outputs, written in numpy one query at a time."""

from __future__ import annotations

import math

import numpy as np
import torch

from bench.predictor import Instances

Found = list[tuple[float, int, np.ndarray]]
"""Score, label and mask of each instance, by falling score."""


def bilinear(size_in: int, size_out: int) -> np.ndarray:
    """Give the matrix (out, in) of a bilinear resize along one axis, pixel centres at half integers, edges repeated."""
    matrix = np.zeros((size_out, size_in))
    for row in range(size_out):
        position = min(max((row + 0.5) * size_in / size_out - 0.5, 0), size_in - 1)
        left = math.floor(position)
        right = min(left + 1, size_in - 1)
        matrix[row, left] += 1 - (position - left)
        matrix[row, right] += position - left
    return matrix


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return bilinear(image.shape[0], height) @ image @ bilinear(image.shape[1], width).T


def full_size(
    logits: torch.Tensor, padded: tuple[int, int], size: tuple[int, int], original: tuple[int, int]
) -> np.ndarray:
    """Scale one query's mask logits to the padded input, cut the padding off, and scale to the original size."""
    upsampled = resize(logits.double().numpy(), *padded)
    return resize(upsampled[: size[0], : size[1]], *original)


def softmax(logits: torch.Tensor) -> np.ndarray:
    exponentials = np.exp(logits.double().numpy())
    return exponentials / exponentials.sum(1, keepdims=True)


def mask2former(
    class_logits: torch.Tensor,
    mask_logits: torch.Tensor,
    padded: tuple[int, int],
    size: tuple[int, int],
    original: tuple[int, int],
) -> Found:
    """Equation of Mask2Former's ``instance_inference`` for one image: class probability times mean mask probability.

    class_logits: (Q, C + 1), the last of which is "no object"; mask_logits: (Q, h, w)
    """
    probabilities = softmax(class_logits)
    queries, classes = probabilities.shape[0], probabilities.shape[1] - 1
    pairs = [(probabilities[q, c], q, c) for q in range(queries) for c in range(classes)]
    best = sorted(pairs, reverse=True)[:100]
    masks = {}
    for query in {query for _, query, _ in best}:
        logits = full_size(mask_logits[query], padded, size, original)
        inside = logits[logits > 0]
        masks[query] = logits > 0, (1 / (1 + np.exp(-inside))).mean() if len(inside) else 0.0
    instances = [(p * masks[q][1], c, masks[q][0]) for p, q, c in best]
    return sorted(instances, key=lambda each: -each[0])


def assert_boxes_around(ours: Instances) -> None:
    """Each box must be the tight one around its mask, and zeros around none."""
    for mask, box in zip(ours.masks.numpy(), ours.boxes.tolist(), strict=True):
        rows, columns = np.nonzero(mask)
        empty = len(rows) == 0
        assert box == ([0] * 4 if empty else [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
