"""Makes the context of a pass, for tests that run one pass of one model in their own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import CocoDataset
from bench.device.gpu import Gpu
from bench.device.gpu_memory import DeviceMemory
from bench.passes.base import Context, InterleavedRound
from bench.predictor import Predictor, ReplayPredictor
from bench.schema.config import BenchConfig
from bench.schema.result import Result


def context_of(
    predictor: Predictor | ReplayPredictor,
    dataset: CocoDataset,
    config: BenchConfig | None = None,
    *,
    labels: Sequence[int | str | None] | None = None,
    folder: Path = Path(),
    progress: Callable[..., None] = lambda *_: None,
    gpu: Gpu | None = None,
    round: InterleavedRound | None = None,
    **measured: Any,
) -> Context:
    """Make a context on the CPU; ``measured`` are parts of the result that earlier rounds have measured."""
    return Context(
        config=config or BenchConfig(),
        dataset=dataset,
        device=torch.device("cpu"),
        predictor=predictor,
        labels=list(range(len(predictor.classes))) if labels is None else labels,
        folder=folder,
        result=Result("failed", {}, **measured),
        progress=progress,
        gpu=gpu,
        device_memory=DeviceMemory(),
        round=round,
    )
