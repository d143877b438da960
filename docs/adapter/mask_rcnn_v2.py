"""Mask R-CNN R50-FPN v2 of torchvision, in the three stages that maskbench times."""

import numpy as np
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.image_list import ImageList

from bench.predictor import Instances, Settings, TorchPredictor, load_weights


class MaskRCNNv2(TorchPredictor):
    precisions = ("fp32", "tf32")  # under autocast torchvision would decode its boxes in 16 bits
    packages = ("torchvision",)
    compiled_parts = ("backbone",)
    stateless_preprocess = True  # preprocess keeps nothing in self, forward leaves the batch as it is

    def __init__(self, settings: Settings, min_size: int = 800, max_size: int = 1333) -> None:
        self.device, self.classes = settings.device, settings.classes or ("thing",)
        arguments = {"min_size": min_size, "max_size": max_size, "box_detections_per_img": settings.max_detections}
        if settings.score_threshold is not None:
            arguments["box_score_thresh"] = settings.score_threshold
        self.module = maskrcnn_resnet50_fpn_v2(weights_backbone=None, num_classes=len(self.classes) + 1, **arguments)
        if settings.checkpoint is not None:
            load_weights(self.module, settings.checkpoint)
        self.module.to(settings.device).eval()

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, int]:
        return {"min_size": shorter, "max_size": longer}

    def preprocess(self, images: list[np.ndarray]) -> tuple[list[torch.Tensor], list[tuple[int, ...]]]:
        pixels = [torch.from_numpy(image).permute(2, 0, 1).float() / 255 for image in images]
        return [self.module.transform.resize(p)[0] for p in pixels], [image.shape[:2] for image in images]

    def forward(self, batch: tuple[list[torch.Tensor], list[tuple[int, ...]]]) -> tuple:
        transform, sizes = self.module.transform, [tuple(image.shape[-2:]) for image in batch[0]]
        normalised = [transform.normalize(image.to(self.device)) for image in batch[0]]
        inputs = ImageList(transform.batch_images(normalised, transform.size_divisible), sizes)
        features = self.module.backbone(inputs.tensors)
        detections, _ = self.module.roi_heads(features, self.module.rpn(inputs, features)[0], sizes)
        return detections, sizes, batch[1]

    def postprocess(self, raw: tuple) -> list[Instances]:
        detections = [dict(each) for each in raw[0]]  # the library writes into what it is given
        full = self.module.transform.postprocess(detections, *raw[1:])
        return [Instances(f["masks"][:, 0] > 0.5, f["boxes"], f["scores"], f["labels"] - 1) for f in full]
