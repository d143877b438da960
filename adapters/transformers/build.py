"""Build the network of the transformers adapter from options, and load its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_BACKBONE_MAPPING,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    PretrainedConfig,
)
from transformers.utils import logging

from bench.errors import UserError, nearest
from bench.predictor import Checkpoint

STAGES = ["stage1", "stage2", "stage3", "stage4"]
"""The outputs that a hierarchical backbone gives, with strides 4, 8, 16 and 32."""


def configured(classes: tuple[str, ...], backbone: Mapping[str, Any], network: Mapping[str, Any]) -> Mask2FormerConfig:
    """Give the library's configuration: its defaults with the changes that the options make.

    Raises:
        UserError: the kind of backbone, or a key in ``backbone`` or ``network``, is unknown.
    """
    names = dict(enumerate(classes))
    return Mask2FormerConfig(
        backbone_config=_backbone(backbone),
        id2label=names,
        label2id={name: label for label, name in names.items()},
        **_known(Mask2FormerConfig, "network", network),
    )


def _backbone(given: Mapping[str, Any]) -> PretrainedConfig:
    options = dict(given)
    kind = options.pop("model_type", "swin")
    known = [config.model_type for config in MODEL_FOR_BACKBONE_MAPPING]
    if kind not in known:
        raise UserError(
            f"model.options.backbone.model_type={kind}: transformers has no such backbone; {nearest(kind, known)}"
        )
    config = CONFIG_MAPPING[kind]
    return config(out_features=STAGES, **_known(config, "backbone", options))


def _known(config: type[PretrainedConfig], where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give a copy of the options.

    Raises:
        UserError: a key is unknown, which the library would keep and ignore.
    """
    known = set(config().to_dict())
    for key in given:
        if key not in known:
            raise UserError(f"model.options.{where}.{key}: {config.__name__} has no such key; {nearest(key, known)}")
    return dict(given)


def from_checkpoint(config: Mask2FormerConfig, checkpoint: Checkpoint) -> Mask2FormerForUniversalSegmentation:
    """Load a checkpoint by ``from_pretrained``, which knows the parameter names of the library's earlier versions.

    Raises:
        UserError: the checkpoint is of another architecture or of other classes.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        module, info = Mask2FormerForUniversalSegmentation.from_pretrained(
            None,
            config=config,
            state_dict=dict(checkpoint.state_dict),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    finally:
        logging.set_verbosity(verbosity)
    # The published file has tables of relative positions, which the library computes, and lacks the norm after Swin's
    # last block, whose output Mask2Former does not read.
    lists = {
        "missing": [k for k in info["missing_keys"] if ".encoder.swin.layernorm." not in k],
        "unexpected": [k for k in info["unexpected_keys"] if not k.endswith("relative_position_index")],
        "of another shape": [k[0] for k in info["mismatched_keys"]],
    }
    problems = [f"{len(keys)} {what} (first: {min(keys)})" for what, keys in lists.items() if keys]
    if problems:
        raise UserError(
            f"{checkpoint.path}: the checkpoint does not fit this model, parameters: {'; '.join(problems)}; "
            f"give weights of the same architecture and classes"
        )
    return module.float()
