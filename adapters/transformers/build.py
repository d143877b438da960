"""Build a network of the transformers adapter from options, and load its checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from transformers import CONFIG_MAPPING, MODEL_FOR_BACKBONE_MAPPING, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from adapters.transformers.families import Family
from adapters.transformers.inputs import Inputs
from bench.errors import UserError, nearest
from bench.predictor import Checkpoint


def configured(
    family: Family,
    classes: Sequence[str],
    backbone: Mapping[str, Any],
    network: Mapping[str, Any],
    sub: Mapping[str, Any] | None = None,
) -> PretrainedConfig:
    """Give the library's configuration: its defaults with the changes that the options make.

    classes: a name for every class logit but "no object"

    Raises:
        UserError: the kind of backbone, or a key of the options, is unknown.
    """
    cls = family.model.config_class
    parts: dict[str, Any] = {}
    if family.backbone is not None:
        parts["backbone_config"] = _backbone(family, backbone)
    elif backbone:
        raise UserError(f"model.options.backbone: {cls.__name__} has no backbone of its own; give its keys in network")
    if family.sub is not None:
        key, kind = family.sub
        parts[key] = CONFIG_MAPPING[kind](**_known(CONFIG_MAPPING[kind], key, sub or {}))
    return cls(**parts, **named(classes), **_known(cls, "network", network))


def named(classes: Sequence[str]) -> dict[str, Any]:
    """Give the keys of a configuration that name the class logits."""
    names = dict(enumerate(classes))
    return {"id2label": names, "label2id": {name: label for label, name in names.items()}}


def _backbone(family: Family, given: Mapping[str, Any]) -> PretrainedConfig:
    options = dict(given)
    kind = options.pop("model_type", family.backbone)
    known = [config.model_type for config in MODEL_FOR_BACKBONE_MAPPING]
    if kind not in known:
        raise UserError(
            f"model.options.backbone.model_type={kind}: transformers has no such backbone; {nearest(kind, known)}"
        )
    config = CONFIG_MAPPING[kind]
    options = _known(config, "backbone", options)
    return config(**({"out_features": list(family.stages)} if family.stages else {}) | options)


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


def fitted(inputs: Inputs, family: Family, config: PretrainedConfig, pad_to: int | None) -> Inputs:
    """Give the inputs that the network of this configuration can take.

    config: its ``image_size`` becomes the input's edge, where the network takes no other

    Raises:
        UserError: the input is a square, and the edges are not equal, or no multiple of patches and windows.
    """
    if not family.square:
        return replace(inputs, stride=family.stride, pad_to=pad_to)
    shorter, edge = inputs.shortest_edge, inputs.longest_edge
    part = getattr(config, "backbone_config", config)
    multiple = part.patch_size * getattr(part, "num_windows", 1)
    if shorter != edge or edge % multiple:
        valid = max(round(edge / multiple), 1) * multiple
        raise UserError(
            f"input_size={shorter}x{edge} (model.options.shortest_edge, longest_edge): {family.model.__name__} takes a "
            f"square whose edge is a multiple of {multiple} pixels; give input_size={valid}x{valid}"
        )
    if hasattr(config, "image_size"):
        config.image_size = edge
    return replace(inputs, stride=multiple)


def untrained(family: Family, config: PretrainedConfig) -> PreTrainedModel:
    """Give a network with random weights, which does the work that a trained one does."""
    module = family.model(config)
    if hasattr(module, "attn_mask_probs"):
        # EoMT's training masks its attention less and less, and its trained models compute no such masks.
        module.attn_mask_probs.zero_()
    return module


def from_checkpoint(family: Family, config: PretrainedConfig, checkpoint: Checkpoint) -> PreTrainedModel:
    """Load a checkpoint by ``from_pretrained``, which knows the parameter names of the library's earlier versions.

    Raises:
        UserError: the checkpoint is of another architecture or of other classes.
    """
    with _silent():
        module, info = family.model.from_pretrained(
            None,
            config=config,
            state_dict=dict(checkpoint.state_dict),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    lists = {
        "missing": [k for k in info["missing_keys"] if not _spare(k, family)],
        "unexpected": [k for k in info["unexpected_keys"] if not _spare(k, family)],
        "of another shape": [k[0] for k in info["mismatched_keys"]],
    }
    problems = [f"{len(keys)} {what} (first: {min(keys)})" for what, keys in lists.items() if keys]
    if problems:
        raise UserError(
            f"{checkpoint.path}: the checkpoint does not fit this model, parameters: {'; '.join(problems)}; "
            f"give weights of the same architecture and classes"
        )
    return module.float()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Have the library say nothing and draw no bar: what does not fit is told by us."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _spare(name: str, family: Family) -> bool:
    return any(part in name for part in family.spare)
