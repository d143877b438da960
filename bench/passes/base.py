"""The interface of a pass: it measures one part of a Result, and gets everything that it needs as a Context."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.data.dataset import CocoDataset
from bench.data.ids import Id
from bench.data.images import ImageRecord
from bench.device.gpu import Gpu
from bench.device.gpu_memory import DeviceMemory
from bench.passes.shards.merged import ToMerge
from bench.predictor import Predictor, ReplayPredictor
from bench.schema.config import BenchConfig
from bench.schema.parts.accuracy import parts_to_compute
from bench.schema.parts.costs import FlopsResult
from bench.schema.result import PASSES, Result

if TYPE_CHECKING:  # they import torch, which a worker that replays results may do without
    import numpy as np
    import torch

    from bench.passes.compiled import Compiled
    from bench.passes.runner import Runner

OnPart = Callable[[str], None]
"""Takes the part of the job's time (:data:`bench.schema.result.ALL_SECONDS_PARTS`) that begins."""

OnProgress = Callable[[str, float, float, int], None]
"""Takes the name of the pass, how much of it is done, the total, and the number of images since the last call."""


@dataclass(frozen=True)
class InterleavedRound:
    """One of several rounds that a process times, interleaved with rounds of another process.

    first: whether it is the first round of this process
    batches: the number of batches to time; None lets the protocol decide
    """

    first: bool
    batches: int | None = None


@dataclass
class Context:
    """Everything that a pass needs: what it measures, and what it measures with.

    config, dataset, device: of the job; the device is resolved
    predictor: the model, on its device
    labels: the dataset's category id of each label of the model; None for a class that the dataset lacks
    folder: the job's folder, into which a pass writes its files
    result: what has been measured so far
    progress: reports how far a pass is; a pass calls it between two batches and never inside one
    gpu, device_memory: read the device through NVML; ``gpu`` is None where NVML has no such device
    begins: tells that another part of the job's time begins, and again which pass goes on after it
    compiled: what ``torch.compile`` has to be given before something is measured; None without ``compile=``
    counted_before: gives the operations that another row has counted of the same model, code and images
    round: the round, where rounds of this process are interleaved with those of another; else None
    to_merge: the shards that the accuracy is to be merged from; None where the model is to predict here
    """

    config: BenchConfig
    dataset: CocoDataset
    device: torch.device
    predictor: Predictor | ReplayPredictor
    labels: Sequence[Id | None]
    folder: Path
    result: Result
    progress: OnProgress
    gpu: Gpu | None
    device_memory: DeviceMemory
    begins: OnPart = lambda part: None
    compiled: Compiled | None = None
    counted_before: Callable[[], FlopsResult | None] = lambda: None
    round: InterleavedRound | None = None
    to_merge: ToMerge | None = None

    @cached_property
    def runner(self) -> Runner:
        """Give the runner, which calls the predictor as its interface promises.

        Raises:
            TypeError: the model exists only as its predictions; a pass that runs it does not apply.
        """
        if not isinstance(self.predictor, Predictor):
            raise TypeError(f"{type(self.predictor).__name__} replays results: nothing of it can be run")
        from bench.passes.runner import Runner

        return Runner(self.predictor, self.device, self.config.precision)

    def warm_every_shape(self) -> None:
        """Have every shape of input compiled, once in this process; nothing to do without ``compile=``.

        It comes before a clock, a counter or a profiler starts.
        """
        if self.compiled is not None:
            self.compiled.warm_every_shape(self.runner, self.progress)

    @property
    def replay(self) -> ReplayPredictor | None:
        """Give the class that replays results; None for a model that runs."""
        return self.predictor if isinstance(self.predictor, ReplayPredictor) else None

    @property
    def option_names(self) -> frozenset[str]:
        """Give the names of ``model.options`` that the model's class takes."""
        return frozenset(inspect.signature(type(self.predictor)).parameters)

    @property
    def accuracy_parts(self) -> list[str]:
        """Give the parts of the accuracy pass to compute: those asked for, and those that an earlier run has computed.

        So a run that asks for more parts loses none that were measured before.
        """
        return parts_to_compute(self.config, self.result.accuracy)

    def note(self, text: str) -> None:
        """Add a note to the row, once, even if several of the job's workers add the same."""
        if text not in self.result.notes:
            self.result.notes.append(text)

    def validate(self, records: Sequence[ImageRecord], outputs: Any) -> None:
        """Check what the predictor gave for these images, as :meth:`Runner.validate` does, its device included."""
        self.runner.validate(records, outputs, self.config, on_device=True)

    def look_for_nan(self, images: Sequence[np.ndarray]) -> None:
        """Have a class that itself looks for NaN do so on these images, since it does not while it is timed.

        images: one batch, uint8 RGB (H, W, 3) each

        Raises:
            UserError: it has found some.
        """
        if self.runner.predictor.looks_for_nan is not None:
            with self.runner.refusing_nan():
                self.runner.model(self.runner.preprocess(images))


class Pass(Protocol):
    """One pass. Its module is ``bench.passes.<name>`` and holds it under the name ``PASS``.

    Its properties that are read without importing torch (its name, whether it needs a process of its own, whether it is
    measured in every round) stand beside its part of the Result, in :data:`bench.schema.result.PASSES`.
    """

    def applies(self, predictor: Predictor | ReplayPredictor) -> bool:
        """Tell whether it can measure anything of this model."""

    def measure(self, context: Context) -> Any:
        """Give its part of the Result, a dataclass of ``bench.schema.parts``; None where nothing can be measured."""


def load_pass(name: str) -> Pass:
    """Give the pass of a name of :data:`bench.schema.result.PASSES`; its module is imported at the first use.

    Raises:
        ValueError: no pass has this name.
    """
    if name not in PASSES:
        raise ValueError(f"{name!r} is none of the passes {', '.join(PASSES)}")
    loaded: Pass = importlib.import_module(f"bench.passes.{name}").PASS
    return loaded


class RunsTheModel:
    """A pass that runs the model, which a replayed results file cannot."""

    def applies(self, predictor: Predictor | ReplayPredictor) -> bool:
        """Tell whether there is a model to run."""
        return isinstance(predictor, Predictor)
