"""Paste masks where a box lies outside of its image, which mmdetection can on a GPU only.

QueryInst does not clip its boxes. Of a box wholly outside, mmdet's ``FCNMaskHead`` pastes an
empty mask on a GPU; on a CPU it asks for a range of pixels that ends before it begins, and torch raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def pasted(paste: Callable[[list[Any]], list[Any]], instances: list[Any], samples: list[Any]) -> list[Any]:
    """Give mmdet's instances with their masks, empty ones for boxes wholly outside of their image.

    paste: a mask head's way from boxes (N, 4) in pixels of the input to masks and boxes in pixels of the image, which
        rescales the boxes in place
    """
    if instances[0].bboxes.device.type != "cpu":
        return paste(instances)
    outside = [_outside(each.bboxes, sample.metainfo) for each, sample in zip(instances, samples, strict=True)]
    originals = [each.bboxes.clone() for each in instances]
    for each, hidden in zip(instances, outside, strict=True):
        each.bboxes[hidden] = each.bboxes.new_tensor([0.0, 0.0, 1.0, 1.0])
    with_masks = paste(instances)
    for each, hidden, boxes, sample in zip(with_masks, outside, originals, samples, strict=True):
        each.masks[hidden] = False
        each.bboxes[hidden] = boxes[hidden] / _scale(boxes, sample.metainfo)
    return with_masks


def _outside(boxes: torch.Tensor, meta: dict[str, Any]) -> torch.Tensor:
    """Tell of boxes (N, 4) in pixels of the input, whether no pixel of the image is within one pixel of them."""
    full = boxes / _scale(boxes, meta)
    height, width = meta["ori_shape"][:2]
    before, behind = full[:, 2:].ceil() + 1 <= 0, full[:, :2].floor() - 1 >= full.new_tensor([width, height])
    return (before | behind).any(1)


def _scale(boxes: torch.Tensor, meta: dict[str, Any]) -> torch.Tensor:
    return boxes.new_tensor(meta["scale_factor"]).repeat(2)
