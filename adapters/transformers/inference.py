"""From a network's outputs to instances, as each paper's code does it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from bench.predictor import Instances, boxes_around


@dataclass
class Raw:
    """The output of the network for Q queries, and the sizes of the images.

    class_logits: float32 (B, Q, C), one column for each class of the model, and last "no object" where there is one
    mask_logits: float32 (B, Q, h, w)
    boxes: float32 (B, Q, 4), centre, width and height as shares of the image; None for a network without boxes
    padded_size: height and width of the batch, in pixels; None where the masks cover just the image
    image_sizes, original_sizes: (H, W) of each image after and before the resize
    """

    class_logits: torch.Tensor
    mask_logits: torch.Tensor
    boxes: torch.Tensor | None
    padded_size: tuple[int, int] | None
    image_sizes: list[tuple[int, int]]
    original_sizes: list[tuple[int, int]]

    def full_size(self, image: int, queries: torch.Tensor | None = None) -> torch.Tensor:
        """Give one image's mask logits (Q, H, W) at its original size, or those of some queries, (N,).

        They are scaled bilinearly: to the padded input, whose padding is cut off, and from there to the original size.
        """
        logits = self.mask_logits[image] if queries is None else self.mask_logits[image][queries]
        if not len(logits):  # torch scales no empty tensor
            return logits.new_zeros(0, *self.original_sizes[image])
        logits = logits[None]
        if self.padded_size is not None:
            height, width = self.image_sizes[image]
            padded = interpolate(logits, size=self.padded_size, mode="bilinear", align_corners=False)
            logits = padded[:, :, :height, :width]
        return interpolate(logits, size=self.original_sizes[image], mode="bilinear", align_corners=False)[0]

    def boxes_xyxy(self, image: int) -> torch.Tensor:
        """Give one image's boxes, (Q, 4), xyxy in pixels of the original."""
        assert self.boxes is not None
        x, y, w, h = self.boxes[image].unbind(-1)
        height, width = self.original_sizes[image]
        corners = (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height
        return torch.stack(corners, -1)


def by_mask_quality(raw: Raw, image: int, most: int, threshold: float) -> Instances:
    """Give the instances of Mask2Former's code (``MaskFormer.instance_inference``), for one image.

    They are the best (query, class) pairs by class probability, a softmax over the classes and "no object". A score is
    that probability times the mean mask probability inside the mask. A query with an empty mask is kept, with score 0
    and the box 0, 0, 0, 0. Each query's mask is made once. MaskFormer, OneFormer and EoMT do the same.
    """
    probabilities = raw.class_logits[image].softmax(-1)[:, :-1]
    classes = probabilities.shape[1]
    mask_logits = raw.full_size(image)
    best, index = probabilities.flatten().topk(min(most, probabilities.numel()))
    query, label = index // classes, index % classes
    masks = mask_logits > 0
    weight = masks.float()
    inside = mask_logits.sigmoid().mul_(weight).sum((1, 2)) / (weight.sum((1, 2)) + 1e-6)
    scores, order = (best * inside[query]).sort(descending=True, stable=True)
    order, scores = _above(threshold, order, scores)
    query, label = query[order], label[order]
    return Instances(masks[query], boxes_around(masks)[query], scores, label)


def by_class_score(raw: Raw, image: int, most: int, threshold: float) -> Instances:
    """Give the instances of RF-DETR's and Conditional DETR's code (``PostProcess.forward``), for one image.

    They are the best (query, class) pairs by the sigmoid of the class logit, which is the score. Boxes are the
    network's, and overlaps are kept. A mask is where its logit at full size is above 0.
    """
    probabilities = raw.class_logits[image].sigmoid()
    classes = probabilities.shape[1]
    scores, index = probabilities.flatten().topk(min(most, probabilities.numel()))
    index, scores = _above(threshold, index, scores)
    query, label = index // classes, index % classes
    return Instances(raw.full_size(image, query) > 0, raw.boxes_xyxy(image)[query], scores, label)


def by_best_class(raw: Raw, image: int, most: int, threshold: float) -> Instances:
    """Give the instances of DETR's code (``PostProcess`` and ``PostProcessSegm``), for one image.

    Each query has its most probable class, a softmax over the classes and "no object", and that probability is the
    score. Boxes are the network's. A mask is where its logit at full size is above 0; DETR's code cuts at the input's
    size, and scales the mask after that.
    """
    best, label = raw.class_logits[image].softmax(-1)[:, :-1].max(-1)
    scores, query = best.topk(min(most, len(best)))
    query, scores = _above(threshold, query, scores)
    return Instances(raw.full_size(image, query) > 0, raw.boxes_xyxy(image)[query], scores, label[query])


def _above(threshold: float, order: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Leave out the scores that are not above the threshold; 0 keeps all. NaN is kept, for the check to find."""
    if threshold <= 0:
        return order, scores
    kept = ~(scores <= threshold)
    return order[kept], scores[kept]
