"""Build the networks of the torchvision adapter: those of torchvision, and a small one for a CPU."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import MaskRCNN, maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN, resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.resnet import BasicBlock

from bench.errors import UserError, nearest
from bench.predictor import Checkpoint

BUILDERS = ("maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2", "demo")


def build(builder: str, checkpoint: Checkpoint | None, **arguments: Any) -> MaskRCNN:
    """Build the untrained network of that name; ``arguments`` are those of ``MaskRCNN``.

    The checkpoint is not loaded. It only tells whether the network was trained with frozen BatchNorm.

    Raises:
        UserError: there is no such builder.
    """
    if builder == "demo":
        return _demo(**arguments)
    if builder == "maskrcnn_resnet50_fpn_v2":
        return maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, **arguments)
    if builder != "maskrcnn_resnet50_fpn":
        raise UserError(f"model.options.builder={builder}: no such torchvision model; {nearest(builder, BUILDERS)}")
    if checkpoint is None or any(name.endswith("num_batches_tracked") for name in checkpoint.state_dict):
        return maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, **arguments)
    # Weights without BatchNorm's step counter, such as the published ones, were trained with frozen BatchNorm: the
    # library builds it frozen for them, and with an eps of 0 (torchvision PR 2933).
    module = MaskRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None), **arguments)
    overwrite_eps(module, 0.0)
    return module


def _demo(num_classes: int, **arguments: Any) -> MaskRCNN:
    """Build Mask R-CNN on a ResNet-18 of a quarter of the width, with a 48-channel FPN and narrow heads.

    FPN and heads have BatchNorm, as in ``maskrcnn_resnet50_fpn_v2``, for training from scratch. Since its images are
    small, it trains on fewer anchors and proposals than the library's 256 and 512 of 2000.
    """
    width, channels = 48, [16, 32, 64, 128]
    names = {f"layer{level + 1}": str(level) for level in range(4)}
    backbone = BackboneWithFPN(_resnet18(channels), names, channels, width, norm_layer=nn.BatchNorm2d)
    sizes = ((16,), (32,), (64,), (128,), (256,))
    return MaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes)),
        rpn_pre_nms_top_n_train=300,
        rpn_post_nms_top_n_train=300,
        rpn_post_nms_top_n_test=300,
        rpn_batch_size_per_image=128,
        box_batch_size_per_image=64,
        box_head=FastRCNNConvFCHead((width, 7, 7), [width, width], [128], norm_layer=nn.BatchNorm2d),
        box_predictor=FastRCNNPredictor(128, num_classes),
        mask_head=MaskRCNNHeads(width, [width, width], 1, norm_layer=nn.BatchNorm2d),
        mask_predictor=MaskRCNNPredictor(width, width, num_classes),
        **arguments,
    )


def _resnet18(channels: Sequence[int]) -> nn.Sequential:
    """Build a ResNet-18 (He et al. 2016) of torchvision's blocks, with ``channels`` in place of 64, 128, 256 and 512.

    Every residual branch starts at zero (Goyal et al. 2017, section 5.1).
    """
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, channels[0], 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(channels[0]),
        "relu": nn.ReLU(inplace=True),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
    }
    width = channels[0]
    for level, planes in enumerate(channels):
        stride = 1 if level == 0 else 2
        shortcut = nn.Sequential(nn.Conv2d(width, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
        first = BasicBlock(width, planes, stride, None if width == planes else shortcut)
        layers[f"layer{level + 1}"] = nn.Sequential(first, BasicBlock(planes, planes))
        width = planes
    network = nn.Sequential(OrderedDict(layers))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    return network


def pad_to_a_square(module: MaskRCNN, edge: int) -> None:
    """Have a network in eval mode pad every image to one square: of this edge, or of the next multiple of its stride.

    ``MultiScaleRoIAlign`` takes the scale of a feature from its size over that of the largest image without padding.
    With much padding that is another power of two, and the heads would look at wrong places. So the scales are settled
    here, on an image that needs none.
    """
    stride = module.transform.size_divisible
    module.transform.size_divisible = math.ceil(edge / stride) * stride  # no image has a longer edge
    device = next(module.parameters()).device
    with torch.no_grad():
        features = module.backbone(torch.zeros(1, 3, 256, 256, device=device))
        for pool in (module.roi_heads.box_roi_pool, module.roi_heads.mask_roi_pool):
            pool(features, [torch.tensor([[0.0, 0.0, 32.0, 32.0]], device=device)], [(256, 256)])
