"""The table of the library's instance-segmentation classes: a row says all in which one differs from the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from adapters.transformers.inference import Raw, by_best_class, by_class_score, by_mask_quality
from adapters.transformers.inputs import Resize
from bench.errors import UserError
from bench.predictor import Instances

STAGES = ["stage1", "stage2", "stage3", "stage4"]
"""The outputs that a hierarchical backbone gives, with strides 4, 8, 16 and 32."""

SWIN_NORM = ".encoder.swin.layernorm."
"""The norm after Swin's last block, whose output no segmentation network reads, and which published files lack."""

TASK = (49406, 518, 10549, 533, 34572, 49407)
"""CLIP's tokens of "the task is instance", with those of beginning and end. OneFormer's processor fills up with 0."""


@dataclass(frozen=True)
class Family:
    """One class of the library.

    class_name: its name in transformers
    instances: makes the instances of one image: (outputs, place in the batch, most instances, score threshold)
    resize, edges: of the published models, in pixels
    stride: padded height and width are multiples of it
    logits: the outputs with the class logits and the mask logits
    boxes: the output with the boxes, as shares of the image
    no_object: whether the last class logit is "no object"
    takes_mask: whether the network is told what is padding
    backbone: the default type of a configurable backbone; None where the network is one piece
    stages: the outputs of that backbone; empty leaves them to the options
    sub: a further part of the configuration that has a type of its own, as (key, type)
    task_length: the key of the configuration with the length of the task's tokens; None where it is told no task
    spare: parts of parameter names that a checkpoint may lack or have too much, since inference reads none of them
    encoder: the name of the part whose parameters are the backbone's
    """

    class_name: str
    instances: Callable[[Raw, int, int, float], Instances]
    resize: Resize = Resize.EDGES
    edges: tuple[int, int] = (800, 1333)
    stride: int = 1
    logits: tuple[str, str] = ("class_queries_logits", "masks_queries_logits")
    boxes: str | None = None
    no_object: bool = True
    takes_mask: bool = True
    backbone: str | None = None
    stages: tuple[str, ...] = ()
    sub: tuple[str, str] | None = None
    task_length: str | None = None
    spare: tuple[str, ...] = ("criterion.",)
    encoder: str = ""

    @property
    def model(self) -> type[PreTrainedModel]:
        """The class.

        Raises:
            UserError: the installed version of transformers does not have it.
        """
        try:
            cls: type[PreTrainedModel] = getattr(transformers, self.class_name)
        except AttributeError:
            raise UserError(
                f"transformers {transformers.__version__} has no {self.class_name}; install a newer one: "
                f"pip install -U transformers"
            ) from None
        return cls

    @property
    def square(self) -> bool:
        """Whether the input is a square of one edge."""
        return self.resize is not Resize.EDGES

    def compiled_parts(self, module: PreTrainedModel) -> tuple[str, ...]:
        """Give the names of the modules that ``compile=`` compiles: the backbone, or each layer of a list."""
        part = module.get_submodule(self.encoder)
        is_list = isinstance(part, torch.nn.ModuleList)
        return tuple(f"{self.encoder}.{place}" for place in range(len(part))) if is_list else (self.encoder,)


_HIERARCHICAL: dict[str, Any] = {"backbone": "swin", "stages": tuple(STAGES)}
_DETR: dict[str, Any] = {
    "logits": ("logits", "pred_masks"),
    "boxes": "pred_boxes",
    "backbone": "resnet",
    "stages": tuple(STAGES),
}
_EOMT: dict[str, Any] = {"resize": Resize.INSIDE, "edges": (640, 640), "takes_mask": False}

FAMILIES = {
    "mask2former": Family(
        "Mask2FormerForUniversalSegmentation",
        by_mask_quality,
        stride=32,
        spare=("criterion.", SWIN_NORM, "relative_position_index"),
        encoder="model.pixel_level_module.encoder",
        **_HIERARCHICAL,
    ),
    "maskformer": Family(
        "MaskFormerForInstanceSegmentation",
        by_mask_quality,
        stride=32,
        sub=("decoder_config", "detr"),
        spare=("criterion.", ".encoder.model.layernorm.", "relative_position_index"),
        encoder="model.pixel_level_module.encoder",
        **_HIERARCHICAL,
    ),
    "oneformer": Family(
        "OneFormerForUniversalSegmentation",
        by_mask_quality,
        stride=32,
        task_length="task_seq_len",
        spare=("criterion.", SWIN_NORM, "relative_position_index", "text_mapper.", "prompt_ctx"),
        encoder="model.pixel_level_module.encoder",
        **_HIERARCHICAL,
    ),
    "eomt": Family("EomtForUniversalSegmentation", by_mask_quality, encoder="layers", **_EOMT),
    "eomt_dinov3": Family("EomtDinov3ForUniversalSegmentation", by_mask_quality, encoder="layers", **_EOMT),
    "rf_detr": Family(
        "RfDetrForInstanceSegmentation",
        by_class_score,
        resize=Resize.STRETCH,
        edges=(432, 432),
        logits=("logits", "pred_masks"),
        boxes="pred_boxes",
        no_object=False,
        takes_mask=False,
        backbone="rf_detr_dinov2",
        spare=("mask_token",),
        encoder="model.model.backbone.backbone",
    ),
    "conditional_detr": Family(
        "ConditionalDetrForSegmentation",
        by_class_score,
        no_object=False,
        encoder="conditional_detr.model.backbone",
        **_DETR,
    ),
    "detr": Family("DetrForSegmentation", by_best_class, encoder="detr.model.backbone", **_DETR),
}
"""By the ``model_type`` of the library's configuration."""


def task_tokens(length: int, device: torch.device) -> torch.Tensor:
    """Give OneFormer's task, instance segmentation, for one image: int64 (1, length)."""
    return torch.tensor([[*TASK, *[0] * (length - len(TASK))]], device=device)
