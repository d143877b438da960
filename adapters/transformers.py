"""Mask2Former of Hugging Face transformers, with the inference of the paper's code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, PretrainedConfig, SwinConfig
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.utils import logging

from bench.errors import UserError, nearest
from bench.predictor import Checkpoint, Instances, Predictor, Settings

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
STRIDE = 32
"""Padded height and width are multiples of this, the stride of the coarsest features (``size_divisor``)."""


@dataclass
class Batch:
    """images: uint8 (3, h, w) each, resized, on the host; original_sizes: (H, W) before the resize."""

    images: list[torch.Tensor]
    original_sizes: list[tuple[int, int]]


@dataclass
class Raw:
    """class_logits: float32 (B, Q, classes + 1); mask_logits: float32 (B, Q, h / 4, w / 4) of the padded (h, w)."""

    class_logits: torch.Tensor
    mask_logits: torch.Tensor
    padded_size: tuple[int, int]
    image_sizes: list[tuple[int, int]]
    original_sizes: list[tuple[int, int]]


class Mask2FormerPredictor(Predictor):
    """Mask2Former (Cheng et al. 2022) with a Swin backbone, ``Mask2FormerForUniversalSegmentation``.

    swin, network: what differs from the defaults of ``SwinConfig`` and of ``Mask2FormerConfig``.
    shortest_edge, longest_edge: the resize of ``Mask2FormerImageProcessor``, in pixels; 800 and 1333 are the paper's.

    Instances are those of the paper's code (``MaskFormer.instance_inference``), not of the library's
    ``post_process_instance_segmentation``: the best (query, class) pairs by class probability, the mask where the
    upsampled logit is above 0, the score times the mean mask probability inside it. A query whose mask is empty is
    kept, as there, with score 0 and the box 0, 0, 0, 0. Under autocast the network runs in the lower precision and
    everything after its logits in float32. The paper has no score threshold.

    Raises:
        UserError: no class names, an unknown key in ``swin`` or ``network``, or a checkpoint that does not fit.
    """

    module: Mask2FormerForUniversalSegmentation

    def __init__(
        self,
        settings: Settings,
        swin: Mapping[str, Any] | None = None,
        network: Mapping[str, Any] | None = None,
        shortest_edge: int = 800,
        longest_edge: int = 1333,
    ) -> None:
        if settings.classes is None:
            raise UserError("model.classes: transformers carries no class names, list them in the order of the labels")
        self.classes = tuple(settings.classes)
        config = _config(self.classes, swin or {}, network or {})
        if settings.checkpoint is None:
            module = Mask2FormerForUniversalSegmentation(config)
        else:
            module = _from_checkpoint(config, settings.checkpoint)
        self.device = settings.device
        self.module = module.to(settings.device).eval()
        self.shortest_edge, self.longest_edge = shortest_edge, longest_edge
        self.score_threshold = settings.score_threshold or 0.0
        self.max_detections = settings.max_detections
        self.mean = torch.tensor(PIXEL_MEAN, device=settings.device)[:, None, None]
        self.std = torch.tensor(PIXEL_STD, device=settings.device)[:, None, None]

    def preprocess(self, images: Sequence[np.ndarray]) -> Batch:
        resized = []
        for image in images:
            size = get_size_with_aspect_ratio(image.shape[:2], self.shortest_edge, self.longest_edge)
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
            resized.append(interpolate(pixels, size=size, mode="bilinear", antialias=True)[0])
        return Batch(resized, [image.shape[:2] for image in images])

    def forward(self, batch: Batch) -> Raw:
        height, width = self.input_size(batch)
        pixel_values = torch.zeros(len(batch.images), 3, height, width, device=self.device)
        pixel_mask = torch.zeros_like(pixel_values[:, 0], dtype=torch.int64)
        sizes = [(image.shape[-2], image.shape[-1]) for image in batch.images]
        for index, (image, (h, w)) in enumerate(zip(batch.images, sizes, strict=True)):
            pixel_values[index, :, :h, :w] = (image.to(self.device) / 255 - self.mean) / self.std
            pixel_mask[index, :h, :w] = 1
        output = self.module(pixel_values=pixel_values, pixel_mask=pixel_mask)
        logits = output.class_queries_logits.float(), output.masks_queries_logits.float()
        return Raw(*logits, (height, width), sizes, batch.original_sizes)

    def postprocess(self, raw: Raw) -> list[Instances]:
        images = zip(raw.class_logits, raw.mask_logits, raw.image_sizes, raw.original_sizes, strict=True)
        return [
            self._instances(class_logits, _full_size(mask_logits, raw.padded_size, size, original))
            for class_logits, mask_logits, size, original in images
        ]

    def input_size(self, batch: Batch) -> tuple[int, int]:
        height, width = (max(image.shape[axis] for image in batch.images) for axis in (-2, -1))
        return math.ceil(height / STRIDE) * STRIDE, math.ceil(width / STRIDE) * STRIDE

    def _instances(self, class_logits: torch.Tensor, mask_logits: torch.Tensor) -> Instances:
        """The paper's ``instance_inference`` for logits (Q, classes + 1) and (Q, H, W); masks are made once a query."""
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
        return Instances(masks[query], _boxes(masks)[query], scores, label)


def _full_size(
    logits: torch.Tensor, padded: tuple[int, int], image: tuple[int, int], original: tuple[int, int]
) -> torch.Tensor:
    """Logits (Q, h, w) to (Q, H, W): up to the padded input, padding cut off, to the original size, all bilinear."""
    upsampled = interpolate(logits[None], size=padded, mode="bilinear", align_corners=False)
    cropped = upsampled[:, :, : image[0], : image[1]]
    return interpolate(cropped, size=original, mode="bilinear", align_corners=False)[0]


def _boxes(masks: torch.Tensor) -> torch.Tensor:
    """float32 (N, 4) xyxy around masks (N, H, W), the right and lower edge exclusive; zeros for an empty mask."""
    pixels = masks.view(torch.uint8)
    columns, rows = pixels.amax(1), pixels.amax(2)
    low = torch.stack([columns.argmax(1), rows.argmax(1)], 1)
    high = torch.stack([columns.shape[1] - columns.flip(1).argmax(1), rows.shape[1] - rows.flip(1).argmax(1)], 1)
    return torch.cat([low, high], 1) * rows.amax(1)[:, None].float()


def _config(classes: tuple[str, ...], swin: Mapping[str, Any], network: Mapping[str, Any]) -> Mask2FormerConfig:
    backbone = SwinConfig(out_features=["stage1", "stage2", "stage3", "stage4"], **_known(SwinConfig, "swin", swin))
    names = dict(enumerate(classes))
    return Mask2FormerConfig(
        backbone_config=backbone,
        id2label=names,
        label2id={name: label for label, name in names.items()},
        **_known(Mask2FormerConfig, "network", network),
    )


def _known(config: type[PretrainedConfig], where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given keys, refused where the library would store a mistyped one and use the default."""
    known = set(config().to_dict())
    for key in given:
        if key not in known:
            raise UserError(f"model.options.{where}.{key}: {config.__name__} has no such key; {nearest(key, known)}")
    return dict(given)


def _from_checkpoint(config: Mask2FormerConfig, checkpoint: Checkpoint) -> Mask2FormerForUniversalSegmentation:
    """Through ``from_pretrained``, which knows the parameter names of the library's earlier versions."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        module, info = Mask2FormerForUniversalSegmentation.from_pretrained(
            None,
            config=config,
            state_dict=dict(checkpoint.state_dict),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    finally:
        logging.set_verbosity(verbosity)
    # The published file has tables of relative positions, which the library now computes, and lacks the norm after
    # Swin's last stage, whose output Mask2Former does not read.
    lists = {
        "missing": [k for k in info["missing_keys"] if ".encoder.swin.layernorm." not in k],
        "unexpected": [k for k in info["unexpected_keys"] if not k.endswith("relative_position_index")],
        "of another shape": [k[0] for k in info["mismatched_keys"]],
    }
    problems = [f"{len(keys)} {what} (first: {min(keys)})" for what, keys in lists.items() if keys]
    if problems:
        raise UserError(
            f"{checkpoint.path}: the checkpoint does not fit this model, parameters: {'; '.join(problems)}; "
            f"give weights of the same architecture and classes"
        )
    return module.float()
