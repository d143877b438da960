"""Run detectron2's R-CNN models with masks (Mask R-CNN, Cascade, PointRend), of its zoo or of other configs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T  # noqa: N812
from detectron2.modeling import GeneralizedRCNN, detector_postprocess
from detectron2.structures import ImageList
from detectron2.structures import Instances as Detectron2Instances

from adapters.detectron2.build import SCORE_MODULES, Built, build_lazy, build_yacs, with_edges
from adapters.detectron2.training import backbone_prefix, calm_residuals, losses
from adapters.detectron2.zoo import config_file
from bench.errors import UserError
from bench.predictor import Instances, Settings, Target, TorchPredictor, Trainable, load_weights

RENAMED = (
    ("roi_heads.mask_point_head.", "roi_heads.mask_head.point_head."),
    ("roi_heads.mask_coarse_head.", "roi_heads.mask_head.coarse_head."),
    (".coarse_head.coarse_mask_fc", ".coarse_head.fc"),
)
"""Old and new parts of names: detectron2 renamed PointRend's parameters twice after it published the weights."""


class Detectron2Predictor(TorchPredictor, Trainable):
    """A ``GeneralizedRCNN`` with a mask head, with the preprocessing of ``detectron2.engine.DefaultPredictor``.

    ``settings.config`` names a config of detectron2's model zoo, such as
    ``COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml``, or a file of the same form.

    cfg: changes to the config, nested as in detectron2's own YAML files, or for a lazy ``.py`` config as in its Python
        tree. PointRend's keys are always known, so a base config and ``cfg`` suffice for it.
    min_size, max_size: the shorter and the longer edge of the resize in pixels, in place of the config's own.

    Under fp16 and bf16 detectron2 rounds the boxes from which it pools features to that type (``ROIAlign.forward``),
    by several pixels for bf16 at 1333 pixels. This is left as the library does it. PointRend's point head gives float32
    logits: ``PointRendMaskHead._subdivision_inference`` scatters them into upsampled masks, and a GPU's autocast
    upsamples in float32.

    Raises:
        UserError: the config or a key in ``cfg`` is unknown, the model has no instance masks, or classes do not fit.
    """

    module: GeneralizedRCNN
    packages = ("detectron2", "torchvision")
    stateless_preprocess = True
    pads_inputs = True
    score_modules = SCORE_MODULES

    def __init__(
        self,
        settings: Settings,
        cfg: Mapping[str, Any] | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
    ) -> None:
        if settings.config is None:
            raise UserError("model.config is not given; name one of detectron2's model zoo, or a file of that form")
        path = config_file(settings.config)
        built = (build_lazy if path.endswith(".py") else build_yacs)(path, settings, cfg or {})
        # Subclasses (PanopticFPN) give another output.
        if type(built.module) is not GeneralizedRCNN or not getattr(built.module.roi_heads, "mask_on", False):
            raise UserError(
                f"model.config={settings.config}: not an R-CNN with instance masks; choose a mask_rcnn config"
            )
        self.module = built.module.eval()
        if settings.pad_to is not None:
            _pad_to_a_square(self.module.backbone, settings.pad_to)
        point_head = getattr(self.module.roi_heads.mask_head, "point_head", None)
        if point_head is not None:
            point_head.register_forward_hook(lambda _module, _inputs, output: output.float())
        self.backbone_prefix = backbone_prefix(self.module)
        self.resize = with_edges(built.resize, min_size, max_size)
        self.flip_channels = built.input_format == "BGR"
        self.classes = settings.classes or _dataset_classes(built, settings.config)
        if settings.checkpoint is None:
            calm_residuals(self.module)
        else:
            current = _current_names(settings.checkpoint.state_dict)
            load_weights(self.module, dataclasses.replace(settings.checkpoint, state_dict=current))

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, int]:
        return {"min_size": shorter, "max_size": longer}

    def preprocess(self, images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """Resize the shortest edge to the test size (PIL bilinear, on uint8), as ``DatasetMapper`` does.

        Each dict holds ``image``, uint8 (3, h, w) in the model's channel order, and ``height`` and ``width`` of the
        original image in pixels.
        """
        batch = []
        for image in images:
            resized = self.resize.get_transform(image).apply_image(image)
            batch.append({"image": self._tensor(resized), "height": image.shape[0], "width": image.shape[1]})
        return batch

    def forward(self, batch: list[dict[str, Any]]) -> list[tuple[Detectron2Instances, int, int]]:
        """Run ``GeneralizedRCNN.inference`` without its postprocessing.

        Boxes are in pixels of the network's input and masks are of each RoI; original height and width follow.
        """
        detections = self.module.inference(batch, do_postprocess=False)
        return [(one, item["height"], item["width"]) for one, item in zip(detections, batch, strict=True)]

    def postprocess(self, raw: list[tuple[Detectron2Instances, int, int]]) -> list[Instances]:
        """Scale boxes to the original size, drop empty ones, and paste masks at 0.5 (``detector_postprocess``).

        ``fast_rcnn_inference`` has already sorted by falling score and kept ``max_detections``.
        """
        results = []
        for detections, height, width in raw:
            # detector_postprocess scales the boxes in place, and postprocess may be timed again on the same raw.
            copy = Detectron2Instances(detections.image_size, **detections.get_fields())
            copy.pred_boxes = detections.pred_boxes.clone()
            # Under autocast the masks are half-precision, and pasting would round its sampling grid to that.
            copy.pred_masks = detections.pred_masks.float()
            full = detector_postprocess(copy, height, width)
            results.append(
                Instances(
                    # Without instances the library gives an empty uint8 tensor.
                    masks=full.pred_masks.to(torch.bool),
                    boxes=full.pred_boxes.tensor.float(),
                    scores=full.scores.float(),
                    labels=full.pred_classes,
                )
            )
        return results

    def input_size(self, batch: list[dict[str, Any]]) -> tuple[int, int]:
        backbone = self.module.backbone
        images = [torch.empty(item["image"].shape, device="meta") for item in batch]
        padded = ImageList.from_tensors(
            images, backbone.size_divisibility, padding_constraints=backbone.padding_constraints
        )
        return padded.tensor.shape[-2], padded.tensor.shape[-1]

    def training_edges(self) -> tuple[int, int]:
        if not isinstance(self.resize, T.ResizeShortestEdge):
            raise UserError(f"model.config: resizes by {type(self.resize).__name__}; training needs ResizeShortestEdge")
        return max(self.resize.short_edge_length), self.resize.max_size

    def training_step(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        return losses(self.module, [self._tensor(image) for image in images], targets)

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        """Turn uint8 RGB (H, W, 3) into uint8 (3, H, W) in the model's channel order."""
        if self.flip_channels:
            image = image[:, :, ::-1]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _pad_to_a_square(backbone: Any, edge: int) -> None:
    """Have ``ImageList.from_tensors`` pad every image to one square of this edge, as its FPN and ViTDet backbones can.

    Raises:
        UserError: the backbone has no such padding.
    """
    stride = max(backbone.size_divisibility, 1)
    backbone._square_pad = -(-edge // stride) * stride
    if backbone.padding_constraints.get("square_size") != backbone._square_pad:
        raise UserError(
            f"protocol.pad_to: {type(backbone).__name__} of detectron2 has no square padding, as FPN has; leave "
            f"protocol.pad_to out"
        )


def _dataset_classes(built: Built, config: str) -> tuple[str, ...]:
    """Give the names that detectron2 registers for the config's own dataset (COCO's 80 for most of the zoo).

    Raises:
        UserError: it registers none, or a number of them that the network does not have.
    """
    known = MetadataCatalog.get(built.dataset).get("thing_classes", None) if built.dataset else None
    count = built.module.roi_heads.num_classes
    if known is None or len(known) != count:
        raise UserError(f"model.config={config}: its {count} classes have no names; list them in model.classes")
    return tuple(known)


def _current_names(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give published parameters their current names, as ``DetectionCheckpointer`` and PointRend convert them.

    Anchors and pixel statistics are left out, since the config gives them.
    """
    current = {}
    for name, tensor in state_dict.items():
        if "anchor_generator.cell_anchors" in name or name in ("pixel_mean", "pixel_std"):
            continue
        for old, new in RENAMED:
            name = name.replace(old, new)
        current[name] = tensor
    return current
