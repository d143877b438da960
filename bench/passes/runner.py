"""Calls a predictor as its interface promises; every pass uses this module."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bench.data.images import ImageRecord
from bench.predictor import Instances, Predictor, TorchPredictor, validate_batch
from bench.schema.config import BenchConfig

AUTOCAST = {"fp32": None, "tf32": None, "fp16": torch.float16, "bf16": torch.bfloat16, "int8": None}


class Runner:
    """Calls a predictor under ``torch.inference_mode``, and a :class:`TorchPredictor` also under the autocast of its
    precision (none for fp32 and tf32).

    Both contexts are entered anew for every call, as in the libraries' own test loops: an autocast that stays open
    keeps the weights that it has cast, so the times would not be those of real use.

    met: the shapes of input that the model has met in this process, as a pass remembers them
    """

    def __init__(self, predictor: Predictor, device: torch.device, precision: str) -> None:
        self.predictor = predictor
        self.device = device
        self.met: set[Any] = set()
        self._dtype = AUTOCAST[precision] if isinstance(predictor, TorchPredictor) else None
        if predictor.looks_for_nan:
            predictor.looks_for_nan = False  # until :meth:`refusing_nan`

    @property
    def module(self) -> torch.nn.Module | None:
        """Give the network where it is a torch module, else None."""
        return self.predictor.module if isinstance(self.predictor, TorchPredictor) else None

    def validate(
        self, records: Sequence[ImageRecord], outputs: Any, config: BenchConfig, on_device: bool = False
    ) -> None:
        """Check that the predictor's output for these images keeps the promises of its interface.

        on_device: also that a torch network's masks are on the device, where a time or a memory is measured: only then
            do they hold the same work as those of other models

        Raises:
            ValueError: the message names the method, the field, what was given and what is promised.
        """
        sizes = [(record.height, record.width) for record in records]
        device = self.device if on_device else None
        threshold = config.score_threshold
        validate_batch(self.predictor, outputs, sizes, config.protocol.max_detections, threshold, device)

    def preprocess(self, images: Sequence[np.ndarray]) -> Any:
        """Call ``Predictor.preprocess``; images are uint8 RGB (H, W, 3)."""
        return self.predictor.preprocess(images)

    @torch.inference_mode()
    def forward(self, batch: Any) -> Any:
        """Call ``Predictor.forward``, which is the ``network`` boundary."""
        with self._autocast():
            return self.predictor.forward(batch)

    @torch.inference_mode()
    def postprocess(self, raw: Any) -> list[Instances]:
        """Call ``Predictor.postprocess``."""
        with self._autocast():
            return self.predictor.postprocess(raw)

    @torch.inference_mode()
    def model(self, batch: Any) -> list[Instances]:
        """Call ``forward`` and ``postprocess``, which together are the ``model`` boundary."""
        with self._autocast():
            return self.predictor.postprocess(self.predictor.forward(batch))

    @contextlib.contextmanager
    def refusing_nan(self) -> Iterator[None]:
        """Have the model's next calls raise an error where one of its ``score_modules`` gives NaN, or where its class
        itself ``looks_for_nan`` and finds it.

        It waits for the device, so nothing is timed meanwhile. What ``torch.jit`` has compiled takes no hook, and is
        not looked at.
        """
        handles = []
        looks_itself = self.predictor.looks_for_nan is not None
        if isinstance(predictor := self.predictor, TorchPredictor):
            modules = dict(predictor.module.named_modules())
            for name in predictor.score_modules:
                for key, module in _called(name, modules):
                    where = f"{type(predictor).__name__}.module{'.' if key else ''}{key}"
                    handles.append(module.register_forward_hook(_refuser(where)))
        try:
            if looks_itself:
                self.predictor.looks_for_nan = True
            yield
        finally:
            if looks_itself:
                self.predictor.looks_for_nan = False
            for handle in handles:
                handle.remove()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not None)


def _called(name: str, modules: Mapping[str, torch.nn.Module]) -> Iterator[tuple[str, torch.nn.Module]]:
    """Give the module of this name, or those in it where it is a list, which is never called itself."""
    if name in modules:
        module = modules[name]
        is_list = isinstance(module, (torch.nn.ModuleList, torch.nn.ModuleDict))
        found = [(f"{name}.{key}", inner) for key, inner in module.named_children()] if is_list else [(name, module)]
        yield from (each for each in found if not isinstance(each[1], torch.jit.ScriptModule))


def _refuser(where: str) -> Callable[[torch.nn.Module, Any, Any], None]:
    def refuse(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        found = [tensor.isnan().any() for tensor in _tensors(output) if tensor.is_floating_point()]
        if found and bool(torch.stack(found).any()):
            raise ValueError(
                f"{where}: its output holds NaN, and instances with it would be dropped without a word; look for NaN "
                f"in the weights, or give another precision (a class in which NaN is meant says score_modules = ())"
            )

    return refuse


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    """Give the tensors in an output that is made of lists, tuples and dictionaries."""
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from _tensors(part)
    elif isinstance(output, Mapping):
        for part in output.values():
            yield from _tensors(part)
