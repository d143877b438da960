"""Read mmdetection's older checkpoints: parameters that version 3 calls otherwise than the files of its zoo."""

from __future__ import annotations

import dataclasses

import torch

from bench.predictor import Checkpoint

RENAMED = {"segm_head.": "mask_head.segm_branch."}
"""The beginning of a name in mmdet 2 and in mmdet 3. The first is YOLACT's semantic branch, which works in training
only; ``mmdet.apis.init_detector`` leaves it as initialised, with a warning."""


def with_names_of_today(checkpoint: Checkpoint, network: torch.nn.Module) -> Checkpoint:
    """Give a checkpoint whose parameters have the names of mmdet 3, where ``network`` has these names."""
    own = network.state_dict()
    weights = dict(checkpoint.state_dict)
    for old, new in RENAMED.items():
        for name in [name for name in weights if name.startswith(old)]:
            if (today := new + name.removeprefix(old)) in own and today not in weights:
                weights[today] = weights.pop(name)
    return dataclasses.replace(checkpoint, state_dict=weights)
