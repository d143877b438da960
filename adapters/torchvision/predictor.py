"""Run Mask R-CNN of torchvision: ``GeneralizedRCNN.forward``, split at torchvision's own functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchvision.models.detection import MaskRCNN, MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.image_list import ImageList

from adapters.torchvision.build import build, pad_to_a_square
from adapters.torchvision.heads import ablate
from bench.predictor import Instances, Settings, Target, TorchPredictor, Trainable, load_weights

COCO_CATEGORIES: tuple[str, ...] = tuple(MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
"""The 91 outputs of the published weights: background, COCO's 80 classes, and gaps named N/A."""

NOT_A_CLASS = ("__background__", "N/A")

LOSSES = {
    "loss_objectness": "rpn_objectness",
    "loss_rpn_box_reg": "rpn_box",
    "loss_classifier": "class",
    "loss_box_reg": "box",
    "loss_mask": "mask",
}
"""The names that all libraries share, by torchvision's names of its losses."""


@dataclass
class Batch:
    """A batch on the host.

    images: resized, float32 (3, h, w) each, 0..255
    original_sizes: (H, W) of each before the resize
    """

    images: list[torch.Tensor]
    original_sizes: list[tuple[int, int]]


@dataclass
class Raw:
    """The output of the heads, before masks are pasted.

    detections: of each image, in pixels of the resized image, with mask probabilities (N, 1, 28, 28)
    image_sizes, original_sizes: (H, W) of each image after and before the resize
    """

    detections: list[dict[str, torch.Tensor]]
    image_sizes: list[tuple[int, int]]
    original_sizes: list[tuple[int, int]]


class TorchvisionPredictor(TorchPredictor, Trainable):
    """Mask R-CNN (He et al. 2017) as ``torchvision.models.detection`` builds and runs it.

    builder: ``maskrcnn_resnet50_fpn``, ``maskrcnn_resnet50_fpn_v2``, or ``demo``, a narrow ResNet-18 variant.
    min_size, max_size: the resize of ``GeneralizedRCNNTransform``, pixels of the shorter and of the longer edge.
    roi_pooling: ``align``, or ``pool`` for the quantised RoIPool.
    mask_head: ``class_specific``, or the ``class_agnostic`` or ``softmax`` head of section 4.2 of the paper.

    Under autocast the network runs in the lower precision, while anchors, box decoding, NMS and masks stay in float32:
    torchvision decodes in the dtype of the regression, and bfloat16 cannot tell pixel 1000 from pixel 1003.

    Raises:
        UserError: the builder, the pooling or the mask head is unknown, or the checkpoint does not fit.
    """

    module: MaskRCNN
    packages = ("torchvision",)
    word_options = ("builder", "roi_pooling", "mask_head")
    stateless_preprocess = True
    pads_inputs = True
    score_modules = ("rpn.head", "roi_heads.box_predictor", "roi_heads.mask_predictor")
    backbone_prefix = "backbone.body."

    def __init__(
        self,
        settings: Settings,
        builder: str = "maskrcnn_resnet50_fpn",
        min_size: int = 800,
        max_size: int = 1333,
        roi_pooling: str = "align",
        mask_head: str = "class_specific",
    ) -> None:
        outputs = ("__background__", *settings.classes) if settings.classes is not None else COCO_CATEGORIES
        self.classes = tuple(name for name in outputs if name not in NOT_A_CLASS)
        threshold = {} if settings.score_threshold is None else {"box_score_thresh": settings.score_threshold}
        module = build(
            builder,
            settings.checkpoint,
            num_classes=len(outputs),
            min_size=min_size,
            max_size=max_size,
            box_detections_per_img=settings.max_detections,
            **threshold,
        )
        ablate(module, roi_pooling, mask_head)
        if settings.checkpoint is not None:
            load_weights(module, settings.checkpoint)
        for head in (module.rpn.head, module.roi_heads.box_predictor, module.roi_heads.mask_predictor):
            head.register_forward_hook(_float32_output)
        self.device = settings.device
        self.module = module.to(settings.device).eval()
        if settings.pad_to is not None:
            pad_to_a_square(self.module, settings.pad_to)
        self.has_gaps = len(self.classes) < len(outputs) - 1
        contiguous = {name: label for label, name in enumerate(self.classes)}
        self.labels = torch.tensor([contiguous.get(name, -1) for name in outputs], device=settings.device)
        self.outputs = torch.nonzero(self.labels >= 0)[:, 0]

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, int]:
        return {"min_size": shorter, "max_size": longer}

    def preprocess(self, images: Sequence[np.ndarray]) -> Batch:
        resized = []
        for image in images:
            pixels = torch.from_numpy(image).permute(2, 0, 1).float()
            resized.append(self.module.transform.resize(pixels)[0])
        return Batch(resized, [image.shape[:2] for image in images])

    def forward(self, batch: Batch) -> Raw:
        images, features = self._features(batch.images)
        proposals, _ = self.module.rpn(images, features)
        detections, _ = self.module.roi_heads(features, proposals, images.image_sizes)
        return Raw(detections, images.image_sizes, batch.original_sizes)

    def postprocess(self, raw: Raw) -> list[Instances]:
        detections = [self._own_classes(detection) for detection in raw.detections]
        pasted = self.module.transform.postprocess(detections, raw.image_sizes, raw.original_sizes)
        return [Instances(d["masks"][:, 0] > 0.5, d["boxes"], d["scores"], d["labels"]) for d in pasted]

    def input_size(self, batch: Batch) -> tuple[int, int]:
        stride = self.module.transform.size_divisible
        height, width = (max(image.shape[axis] for image in batch.images) for axis in (-2, -1))
        return math.ceil(height / stride) * stride, math.ceil(width / stride) * stride

    def export_onnx(self, path: Path) -> None:
        from adapters.torchvision.export import export  # needs onnx, which a measurement does not

        names = [self.classes[label] if label >= 0 else None for label in self.labels.tolist()]
        export(self.module, names, path)

    def training_edges(self) -> tuple[int, int]:
        return self.module.transform.min_size[-1], self.module.transform.max_size

    def training_step(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        pixels = [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1) for image in images]
        batch, features = self._features(pixels)
        wanted = [
            {
                "boxes": target.boxes.to(self.device),
                "labels": self.outputs[target.labels.to(self.device)],
                "masks": target.masks.to(self.device),
            }
            for target in targets
        ]
        proposals, rpn_losses = self.module.rpn(batch, features, wanted)
        _, losses = self.module.roi_heads(features, proposals, batch.image_sizes, wanted)
        return {LOSSES[name]: loss for name, loss in (rpn_losses | losses).items()}

    def _features(self, images: Sequence[torch.Tensor]) -> tuple[ImageList, dict[str, torch.Tensor]]:
        """Give the padded batch on the device and its feature pyramid; images are (3, h, w) of 0..255 on the host."""
        transform = self.module.transform
        # torchvision normalises before it resizes; a bilinear resize is linear, so the order changes rounding only.
        normalized = [transform.normalize(image.to(self.device) / 255) for image in images]
        sizes = [(image.shape[-2], image.shape[-1]) for image in normalized]
        batch = ImageList(transform.batch_images(normalized, transform.size_divisible), sizes)
        # Anchors take the dtype of the features.
        return batch, {name: feature.float() for name, feature in self.module.backbone(batch.tensors).items()}

    def _own_classes(self, detection: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Give a copy with contiguous labels and without gaps; the library's postprocess would change the original."""
        labels = self.labels[detection["labels"]]
        if not self.has_gaps:
            return {**detection, "labels": labels}
        # Indexing by booleans would look for the True ones, and so wait for the device, for every tensor anew.
        kept = torch.nonzero(labels >= 0)[:, 0]
        return {name: values[kept] for name, values in {**detection, "labels": labels}.items()}


def _float32_output(
    module: torch.nn.Module, inputs: object, output: torch.Tensor | Sequence[torch.Tensor]
) -> torch.Tensor | tuple[torch.Tensor | list[torch.Tensor], ...]:
    """Turn a module's output into float32, as a forward hook: a tensor, or a tuple of tensors or lists of them."""
    if isinstance(output, torch.Tensor):
        return output.float()
    return tuple(part.float() if isinstance(part, torch.Tensor) else [t.float() for t in part] for part in output)
