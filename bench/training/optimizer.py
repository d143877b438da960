"""The optimiser and the schedule of a training: groups of parameters, iterations, learning rate, frozen BatchNorm."""

from __future__ import annotations

import math

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from bench.schema.config import SCHEDULE_EPOCHS, FinetuneConfig

STEPS = (8 / 12, 11 / 12)
"""Shares of the training after which ``decay: step`` divides the rate by 10: epochs 8 and 11 of schedule ``1x``."""

WARMUP_START = 0.001
"""Share of the learning rate at the first iteration, as in mmdetection's and detectron2's schedules."""


def build_optimizer(
    module: torch.nn.Module, backbone_prefix: str, backbone_factor: float, config: FinetuneConfig
) -> torch.optim.Optimizer:
    """Build the optimiser over the parameters that require gradients.

    Each group of parameters has a ``factor``, its share of the learning rate, which :func:`set_learning_rate` sets.

    Parameters whose name begins with ``backbone_prefix`` train at ``backbone_factor`` times the rate. Vectors (biases,
    scales and shifts of normalisation) have no weight decay.
    """
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith(backbone_prefix), parameter.ndim > 1), []).append(parameter)
    parameters = [
        {
            "params": members,
            "factor": backbone_factor if in_backbone else 1.0,
            "weight_decay": config.weight_decay if is_matrix else 0.0,
        }
        for (in_backbone, is_matrix), members in groups.items()
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=config.momentum)
    return torch.optim.AdamW(parameters)


def total_iterations(config: FinetuneConfig, images: int) -> int:
    """Return ``iterations`` of the configuration, or how many the epochs of ``schedule`` take on so many images."""
    if config.iterations is not None:
        return config.iterations
    return math.ceil(SCHEDULE_EPOCHS[config.schedule] * images / (config.batch_size * config.accumulate))


def peak_rate(config: FinetuneConfig, from_weights: bool) -> float:
    """Return the learning rate after the warm-up, as :class:`bench.schema.config.FinetuneConfig` says."""
    if config.learning_rate is not None:
        return config.learning_rate
    if config.optimizer == "sgd":
        return 0.02 * config.batch_size * config.accumulate / 16
    return 1e-4 if from_weights else 1e-3


def backbone_factor(config: FinetuneConfig, from_weights: bool) -> float:
    """Return the backbone's share of the learning rate; a backbone that starts from weights learns more slowly."""
    if config.backbone_lr_factor is not None:
        return config.backbone_lr_factor
    return 0.1 if from_weights else 1.0


def freezes_batch_norm(config: FinetuneConfig, from_weights: bool) -> bool:
    """Say whether BatchNorm is frozen; ``auto`` freezes it where the training starts from weights."""
    return config.batch_norm == "frozen" or (config.batch_norm == "auto" and from_weights)


def learning_rate(iteration: int, iterations: int, peak: float, config: FinetuneConfig) -> float:
    """Return the rate of an iteration (0 to ``iterations`` - 1): ``peak`` times the decay, after a linear warm-up."""
    rate = peak
    if config.decay == "step":
        rate *= 0.1 ** sum(iteration >= share * iterations for share in STEPS)
    elif config.decay == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * iteration / iterations))
    # No more than a tenth of a short training is spent on warming up.
    warmup = min(config.warmup_iterations, iterations // 10)
    if iteration < warmup:
        rate *= WARMUP_START + (1 - WARMUP_START) * iteration / warmup
    return rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of parameters its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def freeze_batch_norm(module: torch.nn.Module) -> None:
    """Keep statistics, scale and shift of every BatchNorm as they are; call it after each ``module.train()``."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()
            for parameter in layer.parameters():
                parameter.requires_grad_(False)
