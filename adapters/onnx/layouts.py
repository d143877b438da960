"""The layouts of outputs that are known: how each is told by names and shapes, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from adapters.onnx import decode, telling
from adapters.onnx.frame import Preprocessing
from adapters.onnx.telling import Port, Roles
from bench.errors import UserError, nearest

Told = Callable[[Sequence[Port]], "Roles | None"]


@dataclass(frozen=True)
class Layout:
    """One layout of outputs.

    name: the word of ``model.options.layout``
    outputs: the outputs in words, for messages
    told: gives the outputs by their roles; None where the layout does not fit
    detect: finds the instances of one image
    classes: how many class names it can go with, from the shapes of the outputs; None where these do not tell
    preprocessing: that of its makers; None where several are common, so that it must be told
    first_label: the label of the first class in the outputs
    batched: whether the outputs have an axis of images; without one they are of one image
    asked_for: whether it must be asked for: its outputs are those of another layout too
    """

    name: str
    outputs: str
    told: Told
    detect: decode.Detect
    classes: Callable[[Roles], tuple[int, ...] | None]
    preprocessing: Preprocessing | None
    first_label: int = 0
    batched: bool = True
    asked_for: bool = False


YOLO = Preprocessing("letterbox")
RFDETR = Preprocessing("stretch", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), antialias=True)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("yolo", "predictions (B, 4 + classes + M, anchors) and prototypes (B, M, h, w) of YOLOv8 or YOLO11",
            telling.yolo, decode.yolo, telling.yolo_classes, YOLO),
        Layout("yolo_end_to_end", "detections (B, N, 6 + M) and prototypes (B, M, h, w) of YOLO26, or with NMS inside",
            telling.yolo_end_to_end, decode.yolo_end_to_end, telling.not_told, YOLO),
        Layout("rfdetr", "boxes (B, Q, 4), logits (B, Q, classes) and masks (B, Q, h, w) of RF-DETR",
            telling.rfdetr, decode.rfdetr, telling.rfdetr_classes, RFDETR),
        Layout("detr", "boxes (B, Q, 4), logits (B, Q, classes + 1) and masks (B, Q, h, w) of DETR",
            telling.rfdetr, decode.detr, telling.query_classes, None, asked_for=True),
        Layout("torchvision", "boxes (N, 4), integer labels (N), scores (N) and masks (N, 1, h, w) of torchvision",
            telling.torchvision, decode.torchvision, telling.not_told, Preprocessing("none"), first_label=1,
            batched=False),
        Layout("mmdeploy", "boxes with scores (B, N, 5), integer labels (B, N) and masks (B, N, h, w) of mmdeploy",
            telling.mmdeploy, decode.mmdeploy, telling.not_told, None),
        Layout("queries", "class logits (B, Q, classes + 1) and mask logits (B, Q, h, w) of Mask2Former",
            telling.queries, decode.queries, telling.query_classes, None),
    )
}  # fmt: skip
"""Every layout by its name."""


def choose(outputs: Sequence[Port], asked: str | None, where: str) -> tuple[Layout, Roles]:
    """Give the layout of a file's outputs, and the outputs by their roles.

    asked: the name of the layout where it was told; None looks for it

    Raises:
        UserError: no layout fits, more than one does, or the one asked for does not.
    """
    has = ", ".join(port.words() for port in outputs)
    if asked is not None:
        if asked not in LAYOUTS:
            raise UserError(f"model.options.layout={asked}: no such layout; {nearest(asked, LAYOUTS)}")
        roles = LAYOUTS[asked].told(outputs)
        if roles is None:
            raise UserError(f"model.options.layout={asked} has {LAYOUTS[asked].outputs}; {where} has {has}")
        return LAYOUTS[asked], roles
    sought = [layout for layout in LAYOUTS.values() if not layout.asked_for]
    fitting = [(layout, roles) for layout in sought if (roles := layout.told(outputs)) is not None]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = [layout.name for layout, _ in fitting]
        raise UserError(
            f"{where}: its outputs {has} fit the layouts {' and '.join(names)}; give model.options.layout={names[0]} "
            f"or model.options.layout={names[1]}"
        )
    known = "; ".join(f"{layout.name}: {layout.outputs}" for layout in LAYOUTS.values())
    raise UserError(f"{where}: its outputs {has} fit no layout that is known. {known}")


def by_role(roles: Roles, outputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the tensors of a run by their roles."""
    return {role: outputs[port.name] for role, port in roles.items()}


def refuse_masks(layout: Layout, masks: str | None) -> None:
    """Refuse the option ``masks`` where the layout's masks are neither of a box nor of the whole input."""
    if masks is not None and layout.name not in ("torchvision", "mmdeploy"):
        raise UserError(
            f"model.options.masks={masks}: is of the layouts torchvision and mmdeploy, and the file's is "
            f"{layout.name}; leave it out"
        )
