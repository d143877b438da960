"""Comparing mmdet's adapter with mmdet's own detector of the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmdet.apis import init_detector
from mmdet.structures import DetDataSample
from mmengine.config import Config
from same_instances import assert_same_instances
from torch.overrides import TorchFunctionMode

from adapters.mmdet.predictor import MmdetPredictor
from bench.predictor import Instances


class SizesSeen(TorchFunctionMode):
    """A context that collects the height and width of every tensor that is made in it."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[tuple[int, ...]] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.sizes.add(tuple(result.shape[-2:]))
        return result


def give_it_something_to_say(predictor: MmdetPredictor) -> MmdetPredictor:
    """Spread scores that are alike in an untrained network, and keep its boxes in the image.

    SOLO's initial weights give nothing over its thresholds, and mask probabilities far below 0.5. YOLACT's and
    QueryInst's give scores of 1; QueryInst's move boxes out of the image, where mmdet's own paste raises on a CPU.
    Signals fade in RTMDet. A panoptic network's best may all be of one stuff.
    """
    network = predictor.module
    with torch.no_grad():
        if hasattr(network, "bbox_head") and hasattr(network.bbox_head, "rtm_cls"):
            measure_batch_norm(network)
            for level in (*network.bbox_head.rtm_cls, *network.bbox_head.rtm_kernel):
                level.weight *= 10
        if hasattr(network, "panoptic_head") and network.panoptic_head.num_stuff_classes:
            classifier = network.panoptic_head.cls_embed
            for label in (0, 100):  # a thing and a stuff that every query gives one score
                classifier.weight[label], classifier.bias[label] = 0, 3
        if hasattr(head := getattr(network, "mask_head", None), "num_grids"):
            head.conv_cls.weight *= 30
            for convolution in getattr(head, "conv_mask_list", ()):
                convolution.weight *= 10
                convolution.bias.zero_()
        if hasattr(head, "protonet"):
            network.bbox_head.conv_cls.weight *= 0.01
        if hasattr(network.rpn_head if hasattr(network, "rpn_head") else None, "num_proposals"):
            for stage in network.roi_head.bbox_head:
                stage.fc_cls.weight *= 0.3
                stage.fc_reg.weight *= 0.03
    return predictor


def measure_batch_norm(network: Any) -> None:
    """Set the statistics of a network's BatchNorm to those of noise that runs through it."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    network.train()
    network.bbox_head(network.extract_feat(torch.randn(2, 3, 128, 128)))
    network.eval()


def reference(config: Config, predictor: MmdetPredictor) -> torch.nn.Module:
    """Give mmdet's own detector with the predictor's weights."""
    detector = init_detector(config, None, palette="random", device="cpu")
    detector.load_state_dict(predictor.module.state_dict())
    return detector


def bgr(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])


def assert_same(ours: Instances, theirs: DetDataSample, image: np.ndarray, classes: int = 6) -> None:
    ours.validate(*image.shape[:2], classes, 100)
    predicted = theirs.pred_instances
    assert len(ours) > 3
    masks = predicted.masks.bool()
    assert 0 < masks.float().mean() < 1
    boxes = predicted.bboxes if predicted.bboxes.any() else None
    assert_same_instances(ours, predicted.scores, predicted.labels, masks, boxes)
