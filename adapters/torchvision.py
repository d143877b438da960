"""Mask R-CNN of torchvision, ``GeneralizedRCNN.forward`` split at torchvision's own functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchvision.models import mobilenet_v3_small
from torchvision.models.detection import (
    MaskRCNN,
    MaskRCNN_ResNet50_FPN_Weights,
    maskrcnn_resnet50_fpn,
    maskrcnn_resnet50_fpn_v2,
)
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from bench.errors import UserError, nearest
from bench.predictor import Checkpoint, Instances, Predictor, Settings, load_weights

COCO_CATEGORIES: tuple[str, ...] = tuple(MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
"""The 91 outputs of the published weights: background, COCO's 80 classes, and gaps named N/A."""

NOT_A_CLASS = ("__background__", "N/A")


@dataclass
class Batch:
    """images: float32 (3, h, w) each, resized, 0..255, on the host; original_sizes: (H, W) before the resize."""

    images: list[torch.Tensor]
    original_sizes: list[tuple[int, int]]


@dataclass
class Raw:
    """Detections in the network's pixels with their 28 x 28 mask probabilities, and the sizes needed to paste them."""

    detections: list[dict[str, torch.Tensor]]
    image_sizes: list[tuple[int, int]]
    original_sizes: list[tuple[int, int]]


class TorchvisionPredictor(Predictor):
    """Mask R-CNN (He et al. 2017) as ``torchvision.models.detection`` builds and runs it.

    builder: ``maskrcnn_resnet50_fpn``, ``maskrcnn_resnet50_fpn_v2``, or ``demo``, a narrow MobileNetV3-Small variant.
    min_size, max_size: the resize of ``GeneralizedRCNNTransform``, pixels of the shorter and of the longer edge.

    Under autocast the network runs in the lower precision, while anchors, box decoding, NMS and masks stay in float32:
    torchvision decodes in the dtype of the regression, and bfloat16 cannot tell pixel 1000 from pixel 1003.

    Raises:
        UserError: an unknown builder, or a checkpoint that does not fit.
    """

    module: MaskRCNN

    def __init__(
        self,
        settings: Settings,
        builder: str = "maskrcnn_resnet50_fpn",
        min_size: int = 800,
        max_size: int = 1333,
    ) -> None:
        outputs = ("__background__", *settings.classes) if settings.classes is not None else COCO_CATEGORIES
        self.classes = tuple(name for name in outputs if name not in NOT_A_CLASS)
        threshold = {} if settings.score_threshold is None else {"box_score_thresh": settings.score_threshold}
        module = _build(
            builder,
            settings.checkpoint,
            num_classes=len(outputs),
            min_size=min_size,
            max_size=max_size,
            box_detections_per_img=settings.max_detections,
            **threshold,
        )
        if settings.checkpoint is not None:
            load_weights(module, settings.checkpoint)
        for head in (module.rpn.head, module.roi_heads.box_predictor, module.roi_heads.mask_predictor):
            head.register_forward_hook(_float32_output)
        self.device = settings.device
        self.module = module.to(settings.device).eval()
        self.has_gaps = len(self.classes) < len(outputs) - 1
        contiguous = {name: label for label, name in enumerate(self.classes)}
        self.labels = torch.tensor([contiguous.get(name, -1) for name in outputs], device=settings.device)

    def preprocess(self, images: Sequence[np.ndarray]) -> Batch:
        resized = []
        for image in images:
            pixels = torch.from_numpy(image).permute(2, 0, 1).float()
            resized.append(self.module.transform.resize(pixels)[0])
        return Batch(resized, [image.shape[:2] for image in images])

    def forward(self, batch: Batch) -> Raw:
        transform = self.module.transform
        # torchvision normalises before it resizes; a bilinear resize is linear, so the order changes rounding only.
        images = [transform.normalize(image.to(self.device) / 255) for image in batch.images]
        sizes = [(image.shape[-2], image.shape[-1]) for image in images]
        images = ImageList(transform.batch_images(images, transform.size_divisible), sizes)
        # Anchors take the dtype of the features.
        features = {name: feature.float() for name, feature in self.module.backbone(images.tensors).items()}
        proposals, _ = self.module.rpn(images, features)
        detections, _ = self.module.roi_heads(features, proposals, sizes)
        return Raw(detections, sizes, batch.original_sizes)

    def postprocess(self, raw: Raw) -> list[Instances]:
        found = [self._own_classes(detection) for detection in raw.detections]
        pasted = self.module.transform.postprocess(found, raw.image_sizes, raw.original_sizes)
        return [Instances(d["masks"][:, 0] > 0.5, d["boxes"], d["scores"], d["labels"]) for d in pasted]

    def input_size(self, batch: Batch) -> tuple[int, int]:
        stride = self.module.transform.size_divisible
        height, width = (max(image.shape[axis] for image in batch.images) for axis in (-2, -1))
        return math.ceil(height / stride) * stride, math.ceil(width / stride) * stride

    def _own_classes(self, detection: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A copy with contiguous labels (the library's postprocess writes into its argument), gaps left out."""
        labels = self.labels[detection["labels"]]
        if not self.has_gaps:
            return {**detection, "labels": labels}
        kept = labels >= 0
        return {name: values[kept] for name, values in {**detection, "labels": labels}.items()}


def _float32_output(
    module: torch.nn.Module, inputs: object, output: torch.Tensor | Sequence[torch.Tensor]
) -> torch.Tensor | tuple[torch.Tensor | list[torch.Tensor], ...]:
    """A forward hook; tensors, or a tuple of tensors or of lists of tensors, to float32."""
    if isinstance(output, torch.Tensor):
        return output.float()
    return tuple(part.float() if isinstance(part, torch.Tensor) else [t.float() for t in part] for part in output)


def _build(builder: str, checkpoint: Checkpoint | None, **arguments: Any) -> MaskRCNN:
    if builder == "demo":
        return _demo(**arguments)
    if builder == "maskrcnn_resnet50_fpn_v2":
        return maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, **arguments)
    if builder != "maskrcnn_resnet50_fpn":
        known = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2", "demo")
        raise UserError(f"model.options.builder={builder}: no such torchvision model; {nearest(builder, known)}")
    if checkpoint is None or any(name.endswith("num_batches_tracked") for name in checkpoint.state_dict):
        return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, **arguments)
    # Weights without BatchNorm's step counter were trained with frozen BatchNorm, as the published ones: the library
    # then builds it frozen and with the eps of the time (torchvision PR 2933).
    module = MaskRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None), **arguments)
    overwrite_eps(module, 0.0)
    return module


def _demo(num_classes: int, **arguments: Any) -> MaskRCNN:
    """Mask R-CNN on MobileNetV3-Small with a 64-channel FPN and narrow heads: 1.6 million parameters for COCO."""
    width = 64
    # The last block of each stride 4, 8, 16, 32 and its channels.
    stages, channels = ("1", "3", "8", "11"), [16, 24, 48, 96]
    names = {stage: str(level) for level, stage in enumerate(stages)}
    backbone = BackboneWithFPN(mobilenet_v3_small(weights=None).features, names, channels, width)
    sizes = ((16,), (32,), (64,), (128,), (256,))
    return MaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        rpn_post_nms_top_n_test=300,
        box_head=TwoMLPHead(width * 7 * 7, 128),
        box_predictor=FastRCNNPredictor(128, num_classes),
        mask_head=MaskRCNNHeads(width, (width, width), 1),
        mask_predictor=MaskRCNNPredictor(width, width, num_classes),
        **arguments,
    )
