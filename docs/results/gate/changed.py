"""The demo Mask R-CNN of torchvision with a known fault in it, for measuring whether a gate sees it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from adapters.torchvision.predictor import TorchvisionPredictor
from bench.predictor import Settings

T = TypeVar("T")


class Changed(TorchvisionPredictor):
    """Slower by a share of its own time, or hungrier by so many bytes.

    proposals: of the region proposal network, that the box head is run on; with torchvision's 1,000 it takes
        most of the time
    slowdown: 0.03 keeps the processor busy for 3 % of the time that each call of ``forward`` and ``postprocess`` took
    extra_bytes: of host memory, touched, held from the first call on
    """

    def __init__(
        self, settings: Settings, proposals: int = 1000, slowdown: float = 0.0, extra_bytes: int = 0, **options: Any
    ) -> None:
        super().__init__(settings, **options)
        self.module.rpn._post_nms_top_n["testing"] = proposals
        self.slowdown = slowdown
        self.extra_bytes = extra_bytes
        self.held: np.ndarray | None = None

    def forward(self, batch: Any) -> Any:
        if self.extra_bytes and self.held is None:
            self.held = np.ones(self.extra_bytes, np.uint8)
        return self._slowed(lambda: super(Changed, self).forward(batch))

    def postprocess(self, raw: Any) -> Any:
        return self._slowed(lambda: super(Changed, self).postprocess(raw))

    def _slowed(self, call: Callable[[], T]) -> T:
        began = time.perf_counter()
        value = call()
        now = time.perf_counter()
        until = now + self.slowdown * (now - began)
        while time.perf_counter() < until:
            pass
        return value
