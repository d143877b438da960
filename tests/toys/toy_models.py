"""Models of a user's own package, small enough to test everything around a model with them."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from bench.predictor import Instances, ReplayPredictor, Settings, TorchPredictor


class Blobs(TorchPredictor):
    """Finds one instance: the pixels brighter than the image's mean."""

    def __init__(self, settings: Settings, delay_ms: float = 0.0) -> None:
        self.classes = settings.classes or ("thing",)
        self.device = settings.device
        self.module = torch.nn.Linear(10, 10).to(settings.device).eval()
        self.delay_ms = delay_ms

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(image).float().mean(dim=-1) for image in images]

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        if self.delay_ms:
            time.sleep(self.delay_ms / 1000)
        return [image.to(self.device) for image in batch]

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        return [self._instances(image) for image in raw]

    def input_size(self, batch: list[torch.Tensor]) -> tuple[int, int]:
        return max(i.shape[0] for i in batch), max(i.shape[1] for i in batch)

    def _instances(self, image: torch.Tensor) -> Instances:
        mask = image > image.mean()
        height, width = image.shape
        return Instances(
            masks=mask[None],
            boxes=torch.tensor([[0.0, 0.0, width, height]]),
            scores=torch.tensor([0.9]),
            labels=torch.tensor([0]),
        )


class Scaled(Blobs):
    """Finds the blob of an image that it scales first, to a size that can be set; masks have the original size."""

    def __init__(self, settings: Settings, edges: Sequence[int] = (32, 64), delay_ms: float = 0.0) -> None:
        super().__init__(settings, delay_ms)
        self.edges = (edges[0], edges[1])

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, Any]:
        return {"edges": (shorter, longer)}

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        self.original_sizes = [image.shape[:2] for image in images]
        return [self._resized(image) for image in super().preprocess(images)]

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        full = zip(raw, self.original_sizes, strict=True)
        return [self._instances(interpolate(image[None, None], size)[0, 0]) for image, size in full]

    def _resized(self, image: torch.Tensor) -> torch.Tensor:
        scale = min(self.edges[0] / min(image.shape), self.edges[1] / max(image.shape))
        return interpolate(image[None, None], [round(edge * scale) for edge in image.shape])[0, 0]


class HasBackbone(Blobs):
    """Finds the blob of a convolved image; the convolution is a part that can be compiled."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.module = torch.nn.ModuleDict({"backbone": torch.nn.Conv2d(3, 1, 3, padding=1)})
        self.module.to(settings.device).eval()

    def preprocess(self, images: Sequence[np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(image).permute(2, 0, 1).float() for image in images]

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.module["backbone"](image[None])[0, 0] for image in batch]


class BendsTime(Blobs):
    """Replaces the host's clock by one that advances ``step_ns`` each time it is read."""

    def __init__(self, settings: Settings, step_ns: int = 0) -> None:
        super().__init__(settings)
        clock = itertools.count(10**18, step_ns) if step_ns else itertools.repeat(10**18)
        time.perf_counter_ns = clock.__next__  # type: ignore[assignment]


class Dies(Blobs):
    """Ends its process, or fails, in the given way at its ``after``-th batch."""

    def __init__(self, settings: Settings, how: str, after: int = 3) -> None:
        super().__init__(settings)
        self.how = how
        self.left = after

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        self.left -= 1
        if self.left == 0:
            getattr(self, f"_{self.how}")()
        return super().forward(batch)

    def _sigkill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _segfault(self) -> None:
        ctypes.string_at(0)

    def _exit(self) -> None:
        os._exit(0)

    def _hang(self) -> None:
        time.sleep(600)

    def _raise(self) -> None:
        raise ValueError("the layer has the wrong size")

    def _torch_oom(self) -> None:
        torch.empty(1 << 60, dtype=torch.uint8)

    def _hoard(self) -> None:
        kept: list[Any] = []
        while True:
            kept.append(np.ones(25_000_000))
            time.sleep(0.02)


class NeedsAbsentLibrary(Blobs):
    """Its library, which it names, is not installed."""

    packages = ("a-library-that-nobody-has",)

    def __init__(self, settings: Settings) -> None:
        import a_library_that_nobody_has  # noqa: F401


class GivesHalfMasks(Blobs):
    """Gives masks of half the image's size."""

    def postprocess(self, raw: list[torch.Tensor]) -> list[Instances]:
        outputs = super().postprocess(raw)
        for instances in outputs:
            instances.masks = instances.masks[:, ::2, ::2]
        return outputs


class NotAPredictor:
    """Takes the settings, but is no predictor."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings


class Echo(ReplayPredictor):
    """Replays no detections at all."""

    def __init__(self, settings: Settings) -> None:
        self.classes = settings.classes or ()

    def results(self, image_id: int) -> list[dict[str, Any]]:
        return []
