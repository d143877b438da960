"""Run any instance-segmentation config of mmdetection 3.x, the original or the fork of the same import name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmengine.logging import MMLogger
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import init_default_scope

from adapters.mmdet.config import ready_config
from adapters.mmdet.float32 import keep_float32
from adapters.mmdet.pipeline import stretches
from adapters.mmdet.stages import MakeMasks, split_of
from adapters.mmdet.training import (
    leave_nothing_frozen,
    named_losses,
    refuse_stuff,
    training_batch,
    training_edges,
    training_pipeline,
)
from adapters.mmdet.weights import with_names_of_today
from bench.predictor import Instances, Settings, Target, TorchPredictor, Trainable, load_weights

PACKAGES = (
    *("mmdet", "onedl-mmdetection", "mmcv", "mmcv-full", "onedl-mmcv", "mmengine", "onedl-mmengine"),
    *("opencv-python", "opencv-python-headless"),
)
"""The distributions of the original and of the maintained fork, and of OpenCV, with which mmcv resizes."""

Batch = dict[str, list[Any]]


class MmdetPredictor(TorchPredictor, Trainable):
    """An instance-segmentation model of mmdetection.

    scale: the (width, height) in pixels to which the test pipeline resizes, in place of the config's own
    cfg_options: changes to the config, nested or dotted as in ``Config.merge_from_dict``

    ``forward`` gives a function that makes the masks and returns mmdet's ``InstanceData``, one per image.

    Raises:
        UserError: the config is unknown or not for instance segmentation, or the checkpoint does not fit.
    """

    module: Any
    packages = PACKAGES
    stateless_preprocess = True
    pads_inputs = True
    score_modules = (
        *("rpn_head", "bbox_head", "mask_head", "panoptic_head", "roi_head.bbox_head", "roi_head.mask_head"),
        *("roi_head.mask_iou_head", "roi_head.point_head"),
    )

    def __init__(
        self, settings: Settings, scale: Sequence[int] | None = None, cfg_options: Mapping[str, Any] | None = None
    ) -> None:
        init_default_scope("mmdet")
        ready = ready_config(settings, scale, cfg_options or {})
        self.config, self.classes = ready.config, ready.classes
        self.score_threshold = settings.score_threshold or 0.0
        self.max_detections = settings.max_detections
        self.steps = ready.pipeline
        self.pipeline, self.training_pipeline = Compose(self.steps), training_pipeline(self.steps)

        self.module = revert_sync_batchnorm(MODELS.build(self.config.model))
        if settings.checkpoint is None:
            MMLogger.get_current_instance().setLevel("WARNING")  # else it prints a paragraph for every parameter
            self.module.init_weights()
        else:
            load_weights(self.module, with_names_of_today(settings.checkpoint, self.module))
        # Every image has at most this edge, so padding to a multiple is a square. YOLACT's are squares of it already,
        # and padding would displace its masks.
        if settings.pad_to is not None and not stretches(self.steps):
            preprocessor = self.module.data_preprocessor
            stride = preprocessor.pad_size_divisor
            preprocessor.pad_size_divisor = math.ceil(settings.pad_to / max(stride, 32)) * max(stride, 32)
        leave_nothing_frozen(self.module)
        keep_float32(self.module.to(settings.device).eval())
        self.split = split_of(self.module, ready.max_candidates)

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, tuple[int, int]]:
        return {"scale": (longer, shorter)}  # mmcv's imrescale holds the longer edge to the larger of the two

    def preprocess(self, images: Sequence[np.ndarray]) -> Batch:
        # The pipelines expect BGR, as mmcv reads files.
        packed = [self.pipeline({"img": np.ascontiguousarray(image[..., ::-1]), "img_id": 0}) for image in images]
        return {key: [p[key] for p in packed] for key in ("inputs", "data_samples")}

    def input_size(self, batch: Batch) -> tuple[int, int]:
        divisor = self.module.data_preprocessor.pad_size_divisor
        height, width = (max(image.shape[axis] for image in batch["inputs"]) for axis in (1, 2))
        return math.ceil(height / divisor) * divisor, math.ceil(width / divisor) * divisor

    def forward(self, batch: Batch) -> MakeMasks:
        data = self.module.data_preprocessor(batch, False)
        return self.split(data["inputs"], data["data_samples"])

    def postprocess(self, raw: MakeMasks) -> list[Instances]:
        return [self._instances(data) for data in raw()]

    def training_edges(self) -> tuple[int, int]:
        return training_edges(self.steps)

    def training_step(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        refuse_stuff(self.module)
        data = self.module.data_preprocessor(training_batch(self.training_pipeline, images, targets), True)
        return named_losses(self.module.loss(data["inputs"], data["data_samples"]))

    def _instances(self, data: Any) -> Instances:
        masks, boxes, scores, labels = data.masks, data.bboxes, data.scores, data.labels
        if len(scores) > 1 and bool((scores[1:] > scores[:-1]).any()):
            order = scores.argsort(descending=True)
            masks, boxes, scores, labels = masks[order], boxes[order], scores[order], labels[order]
        count = min(len(scores), self.max_detections)
        if self.score_threshold > 0:
            count = min(count, int((~(scores < self.score_threshold)).sum()))  # NaN counts, for the check to find
        return Instances(masks[:count].bool(), boxes[:count, :4].float(), scores[:count].float(), labels[:count].long())
