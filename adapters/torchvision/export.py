"""Export Mask R-CNN of torchvision to ONNX: the network and its NMS, with masks of 28 x 28 a box."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.image_list import ImageList

from adapters.onnx.file import describe

OUTPUTS = ("boxes", "labels", "scores", "masks")

OPSET = 17


class _Network(torch.nn.Module):
    """What ``TorchvisionPredictor.forward`` computes of one normalised image (3, h, w), padding included."""

    def __init__(self, module: MaskRCNN) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        transform = self.module.transform
        batch = ImageList(transform.batch_images([image], transform.size_divisible), [image.shape[-2:]])
        features = self.module.backbone(batch.tensors)
        proposals, _ = self.module.rpn(batch, features)
        [found], _ = self.module.roi_heads(features, proposals, batch.image_sizes)
        return tuple(found[name] for name in OUTPUTS)


def export(module: MaskRCNN, labels: Sequence[str | None], path: Path) -> None:
    """Write the network for one image of any height and width.

    labels: the class of each output, None for those that are no class

    The exporter is torch's older one, by tracing: the newer one cannot follow the NMS of torchvision 0.29.
    """
    size = module.transform.min_size[-1], module.transform.max_size
    names = {name: {0: "instances"} for name in OUTPUTS}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer: shapes that are constant, the older exporter
        torch.onnx.export(
            _Network(module).eval(),  # the exporter leaves the modules in the mode of this one
            (torch.rand(3, *size, device=next(module.parameters()).device),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_axes={"image": {1: "height", 2: "width"}, **names},
        )
    transform = module.transform
    how = {
        "resize": "fit",
        "in_float": True,
        "rounding": "down",
        "size": list(size),
        "mean": list(transform.image_mean),
        "std": list(transform.image_std),
    }
    describe(path, "torchvision", labels, **how)
