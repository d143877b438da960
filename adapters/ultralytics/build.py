"""Build a YOLO segmentation network from a YAML of ultralytics, in the form in which the library runs it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ultralytics.nn.tasks import SegmentationModel, yaml_model_load
from ultralytics.utils import ROOT, YAML

from bench.errors import UserError, nearest
from bench.predictor import Settings, load_weights

LEAST_STRIDE = 32
"""The library pads to a multiple of the network's stride, and of 32 at least (``PyTorchBackend.load_model``)."""

HEADS = ("Segment", "Segment26")
"""The last layer of a segmentation network; YOLOE's, which is asked with text, is another."""


class Trunk(torch.nn.Module):
    """Backbone and neck: all layers of a ``BaseModel`` but its head, run as ``BaseModel._predict_once`` does.

    They are one module, so that ``torch.compile`` takes them as one graph.
    """

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        *layers, head = list[Any](model.model)
        self.layers = torch.nn.ModuleList(layers)
        self.saved, self.outputs = frozenset[int](model.save), list[int](head.f)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Give the features of each level for float images (B, 3, H, W) in [0, 1], RGB."""
        kept: dict[int, Any] = {}
        latest: Any = pixels
        for index, layer in enumerate(self.layers):
            source: Any = layer.f
            if isinstance(source, list):
                latest = [latest if i == -1 else kept[i] for i in source]
            elif source != -1:
                latest = kept[source]
            latest = layer(latest)
            if index in self.saved:  # no other, which would raise the peak of memory
                kept[index] = latest
        return [kept[i] for i in self.outputs]


class Network(torch.nn.Module):
    """A fused segmentation network, divided into its trunk and its head."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.trunk = Trunk(model)
        self.head: Any = list[Any](model.model)[-1]
        self.head._inference = functools.partial(_in_float32, self.head._inference)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give candidates and mask prototypes (B, 32, H / 4, W / 4) for float images (B, 3, H, W) in [0, 1], RGB.

        Candidates are (B, 4 + classes + 32, A) with xywh boxes before NMS, or (B, N, 6 + 32) with xyxy boxes, score
        and class of an end-to-end head.
        """
        candidates, protos = self.head(self.trunk(pixels))[0]
        return candidates, protos


class Built(NamedTuple):
    """A network in eval mode; the stride to which images are padded; class names; whether it needs no NMS."""

    network: Network
    stride: int
    classes: tuple[str, ...]
    end2end: bool


def build(settings: Settings, end2end: bool | None) -> Built:
    """Build the network of ``settings.config`` with random weights or those of the checkpoint, on the device.

    As the library does before it predicts or validates, batch norms are folded into their convolutions and the head
    that is not used is removed (``BaseModel.fuse``).

    end2end: which head of a YOLO26 to use; None is what the YAML says

    Raises:
        UserError: the config is unknown, has no masks or no end-to-end head, or the checkpoint does not fit.
    """
    config = _config(settings.config)
    classes = tuple(settings.classes or YAML.load(ROOT / "cfg" / "datasets" / "coco.yaml")["names"].values())
    model = SegmentationModel(dict(config), nc=len(classes), verbose=False)
    head = model.model[-1]
    if settings.checkpoint is not None:
        load_weights(model, settings.checkpoint)
    wanted = bool(config.get("end2end")) if end2end is None else end2end
    if wanted and getattr(head, "one2one_cv2", None) is None:
        raise UserError(
            f"model.options.end2end=true: {settings.config} has no end-to-end head, as YOLO26 has; leave end2end out"
        )
    model.end2end = wanted
    model.set_head_attr(max_det=settings.max_detections)
    model.eval().fuse(verbose=False)
    model.to(settings.device).requires_grad_(False)
    stride = max(int(model.stride.max()), LEAST_STRIDE)
    return Built(Network(model).eval(), stride, classes, wanted)


def _config(name: str | None) -> Mapping[str, Any]:
    """Read a YAML of the package by its name with the scale in it (``yolo11n-seg.yaml``), or a file of that form.

    Raises:
        UserError: there is none, or the name lacks the scale, for which the library would take the smallest.
    """
    if name is None:
        raise UserError("model.config is not given; name a segmentation YAML of ultralytics, as yolo11n-seg.yaml")
    if not Path(name).is_file() and name not in _scaled_names():
        raise UserError(
            f"model.config={name}: neither a file nor a segmentation network of ultralytics; "
            f"{nearest(name, _scaled_names())}"
        )
    config: Mapping[str, Any] = yaml_model_load(name)
    if config["head"][-1][2] not in HEADS:
        raise UserError(
            f"model.config={name}: its head is none of {' and '.join(HEADS)}; give a config with one of them"
        )
    if config.get("scales") and config["scale"] not in config["scales"]:
        scales = ", ".join(config["scales"])
        raise UserError(
            f"model.config={name}: the name of the file must hold the scale, one of {scales}, after the version number "
            f"(my-yolo11n-seg.yaml)"
        )
    return config


def _scaled_names() -> list[str]:
    """Give the names of the package's segmentation YAMLs, with each of their scales put in."""
    names = []
    for path in (ROOT / "cfg" / "models").rglob("yolo*-seg*.yaml"):
        if path.name.startswith("yoloe"):
            continue
        scales = YAML.load(path).get("scales") or [""]
        names += [re.sub(r"(\d+)(?=-seg)", rf"\g<1>{scale}", path.name) for scale in scales]
    return names


def _in_float32(decode: Callable[[Mapping[str, Any]], torch.Tensor], given: Mapping[str, Any]) -> torch.Tensor:
    """Decode boxes in float32 (``Detect._inference``), whatever autocast made of the head's outputs.

    In half precision a coordinate of 600 pixels is a multiple of 0.5, and in bfloat16 of 4. The anchors that the
    library keeps for the next image would also have the type of whichever call came first.
    """
    boxes = given["boxes"]
    with torch.autocast(boxes.device.type, enabled=False):
        if boxes.dtype == torch.float32:
            return decode(given)
        outputs = {name: given[name].float() for name in ("boxes", "scores", "mask_coefficient")}
        # Of the features, the type and the shape alone count.
        return decode({**outputs, "feats": [level[:, :1].float() for level in given["feats"]]})
