"""Run Mask2Former of Hugging Face transformers, with the inference of the paper's code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate
from transformers import Mask2FormerForUniversalSegmentation
from transformers.image_transforms import get_size_with_aspect_ratio

from adapters.transformers.build import configured, from_checkpoint
from adapters.transformers.training import losses
from bench.errors import UserError
from bench.predictor import Instances, Settings, Target, TorchPredictor, Trainable, boxes_around

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
STRIDE = 32
"""Padded height and width are multiples of this, the stride of the coarsest features (``size_divisor``)."""


@dataclass
class Batch:
    """A batch on the host.

    images: resized, uint8 (3, h, w) each
    original_sizes: (H, W) of each before the resize
    """

    images: list[torch.Tensor]
    original_sizes: list[tuple[int, int]]


@dataclass
class Raw:
    """The output of the network for Q queries.

    class_logits: float32 (B, Q, classes + 1)
    mask_logits: float32 (B, Q, h / 4, w / 4) for a padded batch of (h, w)
    padded_size: (h, w)
    image_sizes, original_sizes: (H, W) of each image after and before the resize
    """

    class_logits: torch.Tensor
    mask_logits: torch.Tensor
    padded_size: tuple[int, int]
    image_sizes: list[tuple[int, int]]
    original_sizes: list[tuple[int, int]]


class Mask2FormerPredictor(TorchPredictor, Trainable):
    """Mask2Former (Cheng et al. 2022), ``Mask2FormerForUniversalSegmentation``.

    backbone: its ``model_type``, by default ``swin``, and changes to the defaults of that type's config.
    network: changes to the defaults of ``Mask2FormerConfig``.
    shortest_edge, longest_edge: the resize of ``Mask2FormerImageProcessor``, in pixels; 800 and 1333 are the paper's.

    Instances are made as in the paper's code (``MaskFormer.instance_inference``), not as in the library's
    ``post_process_instance_segmentation``. They are the best (query, class) pairs by class probability. A mask is
    where the upsampled logit is above 0, and a score is the class probability times the mean mask probability inside
    the mask. A query with an empty mask is kept, as in that code, with score 0 and the box 0, 0, 0, 0. Under autocast
    the network runs in the lower precision and everything after its logits in float32. The paper has no score
    threshold.

    Raises:
        UserError: there are no class names, a key in ``backbone`` or ``network`` is unknown, or the checkpoint does
            not fit.
    """

    module: Mask2FormerForUniversalSegmentation
    packages = ("transformers", "torchvision")
    stateless_preprocess = True
    backbone_prefix = "model.pixel_level_module.encoder."
    compiled_parts = ("model.pixel_level_module.encoder",)

    def __init__(
        self,
        settings: Settings,
        backbone: Mapping[str, Any] | None = None,
        network: Mapping[str, Any] | None = None,
        shortest_edge: int = 800,
        longest_edge: int = 1333,
    ) -> None:
        if settings.classes is None:
            raise UserError("model.classes: transformers carries no class names, list them in the order of the labels")
        self.classes = tuple(settings.classes)
        config = configured(self.classes, backbone or {}, network or {})
        if settings.checkpoint is None:
            module = Mask2FormerForUniversalSegmentation(config)
        else:
            module = from_checkpoint(config, settings.checkpoint)
        self.device = settings.device
        self.module = module.to(settings.device).eval()
        self.shortest_edge, self.longest_edge = shortest_edge, longest_edge
        self.score_threshold = settings.score_threshold or 0.0
        self.max_detections = settings.max_detections
        self.mean = torch.tensor(PIXEL_MEAN, device=settings.device)[:, None, None]
        self.std = torch.tensor(PIXEL_STD, device=settings.device)[:, None, None]

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, int]:
        return {"shortest_edge": shorter, "longest_edge": longer}

    def preprocess(self, images: Sequence[np.ndarray]) -> Batch:
        resized = []
        for image in images:
            size = get_size_with_aspect_ratio(image.shape[:2], self.shortest_edge, self.longest_edge)
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
            resized.append(interpolate(pixels, size=size, mode="bilinear", antialias=True)[0])
        return Batch(resized, [image.shape[:2] for image in images])

    def forward(self, batch: Batch) -> Raw:
        pixel_values, pixel_mask = self._padded(batch.images)
        output = self.module(pixel_values=pixel_values, pixel_mask=pixel_mask)
        logits = output.class_queries_logits.float(), output.masks_queries_logits.float()
        sizes = [(image.shape[-2], image.shape[-1]) for image in batch.images]
        return Raw(*logits, (pixel_mask.shape[-2], pixel_mask.shape[-1]), sizes, batch.original_sizes)

    def postprocess(self, raw: Raw) -> list[Instances]:
        images = zip(raw.class_logits, raw.mask_logits, raw.image_sizes, raw.original_sizes, strict=True)
        return [
            self._instances(class_logits, _full_size(mask_logits, raw.padded_size, size, original))
            for class_logits, mask_logits, size, original in images
        ]

    def input_size(self, batch: Batch) -> tuple[int, int]:
        return _padded_size(batch.images)

    def training_edges(self) -> tuple[int, int]:
        return self.shortest_edge, self.longest_edge

    def training_step(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        pixels = [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1) for image in images]
        return losses(self.module, *self._padded(pixels), targets)

    def _padded(self, images: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Give the normalised batch (B, 3, H, W) on the device and its mask, int64 (B, H, W), 0 in the padding.

        images: uint8 (3, h, w) each, on the host
        """
        pixel_values = torch.zeros(len(images), 3, *_padded_size(images), device=self.device)
        pixel_mask = torch.zeros_like(pixel_values[:, 0], dtype=torch.int64)
        for values, mask, image in zip(pixel_values, pixel_mask, images, strict=True):
            h, w = image.shape[-2:]
            values[:, :h, :w] = (image.to(self.device) / 255 - self.mean) / self.std
            mask[:h, :w] = 1
        return pixel_values, pixel_mask

    def _instances(self, class_logits: torch.Tensor, mask_logits: torch.Tensor) -> Instances:
        """Give the paper's instances for logits (Q, classes + 1) and (Q, H, W); each query's mask is made once."""
        probabilities = class_logits.softmax(-1)[:, :-1]
        best, index = probabilities.flatten().topk(min(self.max_detections, probabilities.numel()))
        query, label = index // len(self.classes), index % len(self.classes)
        masks = mask_logits > 0
        weight = masks.float()
        inside = mask_logits.sigmoid().mul_(weight).sum((1, 2)) / (weight.sum((1, 2)) + 1e-6)
        scores, order = (best * inside[query]).sort(descending=True, stable=True)
        if self.score_threshold > 0:
            order = order[scores > self.score_threshold]
            scores = scores[: len(order)]
        query, label = query[order], label[order]
        return Instances(masks[query], boxes_around(masks)[query], scores, label)


def _padded_size(images: Sequence[torch.Tensor]) -> tuple[int, int]:
    height, width = (max(image.shape[axis] for image in images) for axis in (-2, -1))
    return math.ceil(height / STRIDE) * STRIDE, math.ceil(width / STRIDE) * STRIDE


def _full_size(
    logits: torch.Tensor, padded: tuple[int, int], image: tuple[int, int], original: tuple[int, int]
) -> torch.Tensor:
    """Scale logits (Q, h, w) to the padded input, cut the padding off, and scale to the original (H, W), bilinearly."""
    upsampled = interpolate(logits[None], size=padded, mode="bilinear", align_corners=False)
    cropped = upsampled[:, :, : image[0], : image[1]]
    return interpolate(cropped, size=original, mode="bilinear", align_corners=False)[0]
