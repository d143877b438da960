"""Run the instance-segmentation networks of Hugging Face transformers, each with the inference of its paper's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

from adapters.transformers import rf_detr_training, training
from adapters.transformers.build import configured, fitted, from_checkpoint, untrained
from adapters.transformers.families import FAMILIES, Family, task_tokens
from adapters.transformers.inference import Raw
from adapters.transformers.inputs import Batch, Inputs, Resize
from adapters.transformers.labels import Columns
from bench.errors import UserError
from bench.predictor import Instances, Settings, Target, TorchPredictor, Trainable


class TransformersPredictor(TorchPredictor):
    """One network of the library; what is its family's own stands in a row of :data:`FAMILIES`.

    backbone: its ``model_type``, and changes to the defaults of that type's configuration
    network: changes to the defaults of the configuration of the family's class
    decoder: changes to the defaults of MaskFormer's ``decoder_config``
    label_ids: ``coco`` where the class logits are numbered by COCO's category ids, 0 to 90 with gaps;
        ``coco_panoptic`` where they are the 133 of COCO panoptic; None where logit N is class N
    shortest_edge, longest_edge: the resize, in pixels; None takes the family's. Where the input is a square, as of
        EoMT and RF-DETR, both are its edge

    Logits that stand for no class of the model are left out before the best are chosen. Under autocast the network
    runs in the lower precision and everything after its outputs in float32. No paper has a score threshold.

    Raises:
        UserError: there are no class names, a key of the options is unknown, an edge is none that the network can
            take, or the checkpoint does not fit.
    """

    family: Family
    module: PreTrainedModel
    packages = ("transformers", "torchvision")
    word_options = ("backbone", "network", "decoder", "label_ids")
    stateless_preprocess = True
    pads_inputs = True

    def __init__(
        self,
        settings: Settings,
        backbone: Mapping[str, Any] | None = None,
        network: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        label_ids: str | None = None,
        shortest_edge: int | None = None,
        longest_edge: int | None = None,
    ) -> None:
        if settings.classes is None:
            raise UserError("model.classes: transformers carries no class names, list them in the order of the labels")
        columns = Columns.of(tuple(settings.classes), label_ids)
        config = configured(self.family, columns.names, backbone or {}, network or {}, decoder)
        edges = shortest_edge or self.family.edges[0], longest_edge or self.family.edges[1]
        self.set_up(settings, config, columns, Inputs(self.family.resize, *edges))

    def set_up(self, settings: Settings, config: PretrainedConfig, columns: Columns, inputs: Inputs) -> None:
        """Build the network of this configuration, with the checkpoint of the settings or untrained.

        config: its ``image_size`` is set to the input's where the network takes no other.
        """
        family = self.family
        self.inputs = fitted(inputs, family, config, settings.pad_to)
        self.colours = self.inputs.colours(settings.device)
        given = settings.checkpoint
        module = untrained(family, config) if given is None else from_checkpoint(family, config, given)
        self.module = module.to(settings.device).eval()
        for parameter in self.module.parameters():  # OneFormer's loss makes one of a float64 of numpy
            parameter.data = parameter.data.float()
        self.backbone_prefix = f"{family.encoder}."
        self.compiled_parts = family.compiled_parts(self.module)
        self.classes, self.logits = columns.classes, columns.by_logit
        last = [len(columns.names)] if family.no_object else []
        self.columns = None if columns.all_kept else torch.tensor([*columns.kept, *last], device=settings.device)
        length = getattr(config, family.task_length) if family.task_length else None
        self.task = None if length is None else task_tokens(length, settings.device)
        self.score_threshold = settings.score_threshold or 0.0
        self.max_detections = settings.max_detections

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, int]:
        return {"shortest_edge": shorter, "longest_edge": longer}

    def preprocess(self, images: Sequence[np.ndarray]) -> Batch:
        return self.inputs.resized(images)

    def forward(self, batch: Batch) -> Raw:
        family = self.family
        pixel_values, pixel_mask = self.inputs.padded(batch.images, *self.colours)
        output = self.module(pixel_values=pixel_values, **self._beside(pixel_mask))
        class_logits, mask_logits = (output[name].float() for name in family.logits)
        if self.columns is not None:
            class_logits = class_logits[..., self.columns]
        boxes = None if family.boxes is None else output[family.boxes].float()
        stretched = family.resize is Resize.STRETCH
        padded = None if stretched else (pixel_mask.shape[-2], pixel_mask.shape[-1])
        sizes = [(image.shape[-2], image.shape[-1]) for image in batch.images]
        return Raw(class_logits, mask_logits, boxes, padded, sizes, batch.original_sizes)

    def postprocess(self, raw: Raw) -> list[Instances]:
        images = range(len(raw.original_sizes))
        return [self.family.instances(raw, image, self.max_detections, self.score_threshold) for image in images]

    def input_size(self, batch: Batch) -> tuple[int, int]:
        return self.inputs.padded_size(batch.images)

    def _beside(self, pixel_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Give what the network takes beside the pixels."""
        given = {"pixel_mask": pixel_mask} if self.family.takes_mask else {}
        if self.task is not None:
            given["task_inputs"] = self.task.expand(len(pixel_mask), -1)
        return given


class Mask2FormerPredictor(TransformersPredictor, Trainable):
    """Mask2Former (Cheng et al. 2022), ``Mask2FormerForUniversalSegmentation``."""

    family = FAMILIES["mask2former"]

    def export_onnx(self, path: Path) -> None:
        from adapters.transformers import export  # needs onnx, which a measurement does not

        export.mask2former(self.module, self.classes, self.inputs, path)

    def training_edges(self) -> tuple[int, int]:
        return self.inputs.shortest_edge, self.inputs.longest_edge

    def training_step(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        pixels = [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1) for image in images]
        return training.losses(self.module, *self.inputs.padded(pixels, *self.colours), targets)


class RfDetrPredictor(TransformersPredictor, Trainable):
    """RF-DETR (Robinson et al. 2025), ``RfDetrForInstanceSegmentation``.

    In training the square has the shorter edge of the images, so that their scale still varies, and no side of an
    image is scaled below the square.
    """

    family = FAMILIES["rf_detr"]

    def export_onnx(self, path: Path) -> None:
        from adapters.transformers import export

        export.rf_detr(self.module, self.logits, self.inputs, path)

    def training_edges(self) -> tuple[int, int]:
        # A bound on the longer edge would shrink the shorter below the square, which the stretch would then blur.
        return self.inputs.shortest_edge, rf_detr_training.LONGEST_EDGE

    def training_step(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        inputs = self.inputs.with_edge(max(min(image.shape[:2]) for image in images))
        pixel_values, _ = inputs.padded(inputs.resized(images).images, *self.colours)
        return rf_detr_training.losses(self.module, pixel_values, targets, self.columns)


class MaskFormerPredictor(TransformersPredictor):
    """MaskFormer (Cheng et al. 2021), ``MaskFormerForInstanceSegmentation``, with Mask2Former's instance inference."""

    family = FAMILIES["maskformer"]


class OneFormerPredictor(TransformersPredictor):
    """OneFormer (Jain et al. 2023), ``OneFormerForUniversalSegmentation``, told that the task is instance."""

    family = FAMILIES["oneformer"]


class EomtPredictor(TransformersPredictor):
    """EoMT (Kerssies et al. 2025), ``EomtForUniversalSegmentation``."""

    family = FAMILIES["eomt"]


class EomtDinov3Predictor(TransformersPredictor):
    """EoMT on DINOv3, ``EomtDinov3ForUniversalSegmentation``."""

    family = FAMILIES["eomt_dinov3"]


class ConditionalDetrPredictor(TransformersPredictor):
    """Conditional DETR (Meng et al. 2021) with DETR's mask head, ``ConditionalDetrForSegmentation``."""

    family = FAMILIES["conditional_detr"]


class DetrPredictor(TransformersPredictor):
    """DETR (Carion et al. 2020), ``DetrForSegmentation``."""

    family = FAMILIES["detr"]
