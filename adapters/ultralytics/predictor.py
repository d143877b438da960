"""Run the YOLO segmentation models of ultralytics (YOLOv8, YOLO11, YOLO26), without its own predictor around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torchvision  # noqa: F401 (the library's NMS is torchvision's where it is imported, else a slower one of its own)
from ultralytics.data.augment import LetterBox
from ultralytics.utils import nms

from adapters.ultralytics.build import Network, build
from adapters.ultralytics.masks import WAYS, Frame, scaled_boxes
from bench.errors import UserError, nearest
from bench.predictor import Instances, Settings, TorchPredictor

SCORE_THRESHOLD = 0.001
"""The library's own where AP is measured: ``conf`` of ``val``. ``predict`` shows what has 0.25 or more."""


@dataclass
class Batch:
    """A batch on the host: pixels uint8 RGB (B, H, W, 3), padded, and the frame of each image."""

    pixels: torch.Tensor
    frames: list[Frame]


@dataclass
class Raw:
    """The output of the network after NMS.

    detections: of each image float32 (N, 6 + 32): xyxy box in pixels of the network's input, score, class, coefficients
    protos: (B, 32, H / 4, W / 4)
    frames: of each image
    """

    detections: list[torch.Tensor]
    protos: torch.Tensor
    frames: list[Frame]


class UltralyticsPredictor(TorchPredictor):
    """A YOLO segmentation network with the letterbox of ``predict`` and, by default, the detections of ``val``.

    ``settings.config`` names a YAML of the package with the scale in it, such as ``yolo11n-seg.yaml``, or a file of
    the same form. The defaults are those with which the library measures AP, but for the number of detections, which
    is the protocol's. ``predict`` has ``score_threshold`` 0.25 and ``multi_label`` false, and drops empty masks.

    shorter_edge, longer_edge: images are scaled until one of them is reached; both are the library's ``imgsz``.
    rect: pad to multiples of the stride only, where all images of a batch have one size; else to a square.
    iou: of NMS. multi_label: a box may be an instance of several classes. agnostic_nms: NMS across classes.
    max_nms: how many candidates, the best, NMS looks at.
    end2end: the head of YOLO26 that needs no NMS (the library's ``nms=False``, of which its makers publish the AP), or
        the other one (the library's default). None is what the YAML says: true for YOLO26.
    masks: ``native`` scales logits to the image before they are cut (``retina_masks=True``); ``input`` cuts them at
        the size of the network's input (``retina_masks=False``); ``json`` does so and loses a rim in scaling, as the
        results do that ``val`` writes for COCO's evaluator.

    Convolutions and batch norms are fused, as in the library. NMS has no time limit here: the library leaves the rest
    of a batch without detections after 2 s. On a CPU the library turns to channels-last by itself, which is
    ``protocol.channels_last`` here. Under autocast boxes are decoded, and masks assembled, in float32.

    Raises:
        UserError: the config or ``masks`` is unknown, there is no end-to-end head, or the checkpoint does not fit.
    """

    module: Network
    packages = ("ultralytics", "torchvision", "opencv-python", "opencv-python-headless")
    stateless_preprocess = True
    word_options = ("masks",)
    pads_inputs = True
    compiled_parts = ("trunk",)
    score_modules = ("head",)

    def __init__(
        self,
        settings: Settings,
        shorter_edge: int = 640,
        longer_edge: int = 640,
        rect: bool = True,
        iou: float = 0.7,
        multi_label: bool = True,
        agnostic_nms: bool = False,
        max_nms: int = 30_000,
        end2end: bool | None = None,
        masks: str = "native",
    ) -> None:
        if masks not in WAYS:
            raise UserError(f"model.options.masks={masks}: unknown; {nearest(masks, WAYS)}")
        self.module, self.stride, self.classes, self.end2end = build(settings, end2end)
        self.device, self.pad_to = settings.device, settings.pad_to
        self.max_detections = settings.max_detections
        self.score_threshold = SCORE_THRESHOLD if settings.score_threshold is None else settings.score_threshold
        self.edges, self.rect = (shorter_edge, longer_edge), rect
        self.iou, self.multi_label, self.agnostic_nms, self.max_nms = iou, multi_label, agnostic_nms, max_nms
        self.module.head.agnostic_nms = agnostic_nms
        self.full_size_masks = WAYS[masks]

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, int]:
        return {"shorter_edge": shorter, "longer_edge": longer}

    def preprocess(self, images: Sequence[np.ndarray]) -> Batch:
        """Resize by OpenCV (bilinear, on uint8) and pad with grey 114 on all sides (``LetterBox``)."""
        frames = self._frames([image.shape[:2] for image in images])
        padded = []
        for image, frame in zip(images, frames, strict=True):
            height, width = frame.scaled
            if frame.scaled != frame.original:
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            padded.append(LetterBox(frame.padded, scaleup=False, stride=self.stride)(image=image))
        return Batch(torch.from_numpy(np.stack(padded)), frames)

    def forward(self, batch: Batch) -> Raw:
        pixels = batch.pixels.to(self.device).permute(0, 3, 1, 2).contiguous().float().div_(255)
        candidates, protos = self.module(pixels)
        detections = nms.non_max_suppression(
            candidates,
            self.score_threshold,
            self.iou,
            agnostic=self.agnostic_nms,
            multi_label=self.multi_label,
            max_det=self.max_detections,
            nc=len(self.classes),
            max_time_img=math.inf,
            max_nms=self.max_nms,
            end2end=self.end2end,
        )
        return Raw(detections, protos, batch.frames)

    def postprocess(self, raw: Raw) -> list[Instances]:
        with torch.autocast(self.device.type, enabled=False):
            images = zip(raw.detections, raw.protos, raw.frames, strict=True)
            return [self._instances(detections, protos, frame) for detections, protos, frame in images]

    def input_size(self, batch: Batch) -> tuple[int, int]:
        return batch.frames[0].padded

    def _frames(self, sizes: Sequence[tuple[int, int]]) -> list[Frame]:
        shorter, longer = self.edges
        scaled = []
        for height, width in sizes:
            factor = min(shorter / min(height, width), longer / max(height, width))
            scaled.append((max(round(height * factor), 1), max(round(width * factor), 1)))
        if self.pad_to is None and self.rect and len(set(sizes)) == 1:
            padded = self._whole(scaled[0][0]), self._whole(scaled[0][1])
        else:
            edge = self._whole(self.pad_to or longer)
            padded = edge, edge
        return [Frame(size, part, padded) for size, part in zip(sizes, scaled, strict=True)]

    def _whole(self, edge: int) -> int:
        return math.ceil(edge / self.stride) * self.stride

    def _instances(self, detections: torch.Tensor, protos: torch.Tensor, frame: Frame) -> Instances:
        boxes, scores, labels, coefficients = detections.split([4, 1, 1, detections.shape[1] - 6], 1)
        both = scaled_boxes(boxes, frame)
        masks = self.full_size_masks(protos, coefficients, both, frame)
        # YOLO26 has no lower bound of 0 for the distances to a box's edges, and so may give one with no inside.
        one, other = both.on_original.split(2, 1)
        corners = torch.cat([torch.minimum(one, other), torch.maximum(one, other)], 1)
        return Instances(masks, corners, scores[:, 0], labels[:, 0].long())
