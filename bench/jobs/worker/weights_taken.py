"""Compares a network with the checkpoint that it was to load, by content, since a class may rename what it loads."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.predictor import Checkpoint

if TYPE_CHECKING:  # a worker that replays results may do without it, and it takes seconds
    import torch

VALUES = 256
"""How many values of a tensor are compared, spread evenly over it."""


@dataclass(frozen=True)
class WeightsTaken:
    """How many of a network's ``parameters`` are ``found`` in the checkpoint.

    Only tensors of more than one value count: biases of zero and scales of one are in every network.

    file: the name of the checkpoint's file
    first_other: the name of the first parameter that is not found; empty where all are
    """

    file: str
    parameters: int
    found: int
    first_other: str


def weights_taken(module: torch.nn.Module, checkpoint: Checkpoint) -> WeightsTaken:
    """Look for the values of each parameter of a network in the checkpoint.

    A parameter is found where a tensor of the checkpoint has its shape and its values, under any name. The values may
    differ by the rounding of a narrower type, since either side may be stored in one.
    """
    import torch

    samples = {name: _sample(tensor) for name, tensor in checkpoint.state_dict.items() if tensor.is_floating_point()}
    of_shape: dict[tuple[int, ...], list[torch.Tensor]] = defaultdict(list)
    for name, sample in samples.items():
        of_shape[tuple(checkpoint.state_dict[name].shape)].append(sample)
    found, others = 0, []
    for name, parameter in module.named_parameters():
        if parameter.is_meta or not parameter.is_floating_point():
            continue
        sample = _sample(parameter)
        if not len(sample) or bool((sample == sample[0]).all()):
            continue
        candidates = of_shape[tuple(parameter.shape)]
        if name in samples and samples[name].shape == sample.shape:
            candidates = [samples[name], *candidates]
        if any(torch.allclose(sample, other, rtol=1e-2, atol=1e-7) for other in candidates):
            found += 1
        else:
            others.append(name)
    return WeightsTaken(Path(checkpoint.path).name, found + len(others), found, others[0] if others else "")


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """Give at most :data:`VALUES` values of a tensor, evenly spread: float32 on the CPU."""
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, len(flat) // VALUES)][:VALUES].float().cpu()
