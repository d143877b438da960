"""Tests the contexts in which a predictor is called, and the network that a pass may read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plain_runtime import Level
from toy_models import Blobs

from bench.passes.runner import Runner
from bench.predictor import Instances, Settings

CPU = torch.device("cpu")


def note() -> tuple[torch.dtype, bool]:
    """Give the type of a matrix product, and whether gradients are off."""
    return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype, torch.is_inference_mode_enabled()


class Watches(Blobs):
    """Takes the note in each stage."""

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        self.in_forward = note()
        return super().forward(batch)

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        self.in_postprocess = note()
        return super().postprocess(raw)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)]
)
@pytest.mark.parametrize("whole", [True, False])
def test_precision_is_autocast_and_gradients_are_off(precision: str, dtype: torch.dtype, whole: bool) -> None:
    watches = Watches(Settings(CPU))
    runner = Runner(watches, CPU, precision)
    batch = runner.preprocess([np.zeros((4, 5, 3), np.uint8)])
    outputs = runner.model(batch) if whole else runner.postprocess(runner.forward(batch))
    assert watches.in_forward == (dtype, True)
    assert watches.in_postprocess == (dtype, True)
    assert outputs[0].masks.shape == (1, 4, 5)
    assert note() == (torch.float32, False)


class Elsewhere(Level):
    """A runtime that is not torch, and declares that it computes in fp16 itself."""

    precisions = ("fp32", "fp16")

    def forward(self, batch: list[np.ndarray]) -> list[np.ndarray]:
        self.in_forward = note()
        return super().forward(batch)


def test_another_runtime_is_told_its_precision_and_runs_without_autocast(tmp_path: Path) -> None:
    path = tmp_path / "level.txt"
    path.write_text("100")
    elsewhere = Elsewhere(Settings(CPU, precision="fp16", weights_path=path))
    runner = Runner(elsewhere, CPU, "fp16")
    [instances] = runner.model(runner.preprocess([np.full((4, 5, 3), 101, np.uint8)]))
    assert elsewhere.in_forward == (torch.float32, True)
    assert bool(instances.masks.all())
    assert runner.module is None


def test_the_network_of_a_torch_predictor() -> None:
    blobs = Blobs(Settings(CPU))
    assert Runner(blobs, CPU, "fp32").module is blobs.module
