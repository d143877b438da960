"""The contexts in which a predictor is called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_models import Blobs

from bench.passes.runner import Runner
from bench.predictor import Instances, Settings

CPU = torch.device("cpu")


class Watches(Blobs):
    """Notes the type of a matrix product and whether gradients are off, stage by stage."""

    def note(self) -> tuple[torch.dtype, bool]:
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype, torch.is_inference_mode_enabled()

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        self.in_forward = self.note()
        return super().forward(batch)

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        self.in_postprocess = self.note()
        return super().postprocess(raw)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)]
)
@pytest.mark.parametrize("whole", [True, False])
def test_precision_is_autocast_and_gradients_are_off(precision: str, dtype: torch.dtype, whole: bool) -> None:
    watches = Watches(Settings(CPU))
    runner = Runner(watches, CPU, precision)
    batch = runner.preprocess([np.zeros((4, 5, 3), np.uint8)])
    found = runner.model(batch) if whole else runner.postprocess(runner.forward(batch))
    assert watches.in_forward == (dtype, True)
    assert watches.in_postprocess == (dtype, True)
    assert found[0].masks.shape == (1, 4, 5)
    assert watches.note() == (torch.float32, False)
