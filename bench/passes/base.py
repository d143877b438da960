"""What a pass is: it measures one part of a Result, from a Context that every pass is given alike."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.device.gpu import Gpu
from bench.device.gpu_memory import DeviceMemory
from bench.passes.runner import Runner
from bench.predictor import Instances, Predictor, ReplayPredictor, validate_batch
from bench.schema.config import BenchConfig
from bench.schema.result import PASSES, Result

OnProgress = Callable[[str, float, float, int], None]
"""Name of the pass, how much of it is done, of how much, and how many more images are through."""


@dataclass(frozen=True)
class InterleavedRound:
    """One of several rounds that a process times, with rounds of another process in between.

    first: whether it is the first of this process
    batches: how many batches it times; None lets the protocol decide
    """

    first: bool
    batches: int | None = None


@dataclass
class Context:
    """What a pass measures, and what it measures with.

    config, dataset, device: of the job; the device is resolved
    predictor: the model, on its device
    labels: the dataset's category id of each label of the model; None for a class that the dataset lacks
    folder: the job's folder, which takes the files that a pass writes
    result: what has been measured so far
    progress: is told how far a pass is, between two batches and never inside one
    gpu, device_memory: what NVML says of the device; ``gpu`` is None where there is nothing to ask
    round: given where this process times several rounds in turn with another
    """

    config: BenchConfig
    dataset: CocoDataset
    device: torch.device
    predictor: Predictor | ReplayPredictor
    labels: Sequence[int | None]
    folder: Path
    result: Result
    progress: OnProgress
    gpu: Gpu | None
    device_memory: DeviceMemory
    round: InterleavedRound | None = None

    @cached_property
    def runner(self) -> Runner:
        """Calls the predictor as its interface promises.

        Raises:
            TypeError: the model exists only as its predictions; a pass that runs it does not apply.
        """
        if not isinstance(self.predictor, Predictor):
            raise TypeError(f"{type(self.predictor).__name__} replays results: nothing of it can be run")
        return Runner(self.predictor, self.device, self.config.precision)

    def note(self, text: str) -> None:
        """Say something of the row, once, however many of the job's workers find it."""
        if text not in self.result.notes:
            self.result.notes.append(text)

    def validate(self, records: Sequence[ImageRecord], instances: Sequence[Instances]) -> None:
        """Hold what the predictor gave for these images against what its interface promises.

        Raises:
            ValueError: says which promise is not kept, in which field.
        """
        sizes = [(record.height, record.width) for record in records]
        validate_batch(self.runner.predictor, instances, sizes, self.config.protocol.max_detections)


class Pass(Protocol):
    """One pass. Its module is ``bench.passes.<name>`` and holds it under the name ``PASS``.

    What is said of it without importing torch (its name, whether it needs a process of its own, whether it goes on
    round after round) stands beside its part of the Result, in :data:`bench.schema.result.PASSES`.
    """

    def applies(self, predictor: Predictor | ReplayPredictor) -> bool:
        """Whether it can measure anything of this model."""

    def measure(self, context: Context) -> Any:
        """Its part of the Result: a dataclass of ``bench.schema.result``, or None where there is nothing to measure."""


def load_pass(name: str) -> Pass:
    """The pass of one of the names of :data:`bench.schema.result.PASSES`; its module is imported at the first use."""
    if name not in PASSES:
        raise ValueError(f"{name!r} is none of the passes {', '.join(PASSES)}")
    loaded: Pass = importlib.import_module(f"bench.passes.{name}").PASS
    return loaded


class RunsTheModel:
    """A pass that runs the model, which a replayed results file cannot."""

    def applies(self, predictor: Predictor | ReplayPredictor) -> bool:
        """Whether there is a model to run."""
        return isinstance(predictor, Predictor)
