"""The timing pass: raw latencies of the boundaries and the stages, nothing summarised.

``model`` and ``end_to_end`` are timed whole; ``preprocess``, ``network`` and ``postprocess`` in calls of their own,
with a synchronisation between them, so that splitting never slows the headline.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

from bench.config import BenchConfig
from bench.dataset import CocoDataset, ImageRecord, batches, read_images
from bench.result import SpeedResult, Timing
from bench.rle import masks_to_rle
from bench.runner import Runner

T = TypeVar("T")
OnProgress = Callable[[str, float, float, int], None]


class Clock:
    """Times calls on one device, synchronised on both sides.

    On a GPU ``latency_ms`` comes from CUDA events and ``wall_ms`` from the host's clock around the same call; elsewhere
    the host's clock (``time.perf_counter``) is the only one.
    """

    def __init__(self, device: torch.device) -> None:
        self.events = device.type == "cuda"
        self.name = "cuda_event" if self.events else "perf_counter"
        self._device = device

    def synchronize(self) -> None:
        """Wait for the device to finish all that was asked of it."""
        if self._device.type != "cpu":
            getattr(torch, self._device.type).synchronize(self._device)

    def time(self, call: Callable[[], T]) -> tuple[T, float, float | None]:
        """The call's value, its latency in milliseconds, and the host's milliseconds (None where they are the same)."""
        if not self.events:
            value, latency_ms = self.time_on_host(call)
            return value, latency_ms, None
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

        def recorded() -> T:
            start.record()
            value = call()
            end.record()
            return value

        value, wall_ms = self.time_on_host(recorded)
        return value, start.elapsed_time(end), wall_ms

    def time_on_host(self, call: Callable[[], T]) -> tuple[T, float]:
        """The call's value and the host's milliseconds, the device idle before and after."""
        self.synchronize()
        began = time.perf_counter_ns()
        value = call()
        self.synchronize()
        return value, (time.perf_counter_ns() - began) / 1e6


class _Samples:
    """Latencies of one boundary or stage as they come."""

    def __init__(self) -> None:
        self.latency_ms: list[float] = []
        self.wall_ms: list[float] = []
        self.total_ms = 0.0  # kept, not summed anew after every sample: a fast model has tens of thousands

    def add(self, latency_ms: float, wall_ms: float | None = None) -> None:
        self.latency_ms.append(latency_ms)
        self.total_ms += latency_ms
        if wall_ms is not None:
            self.wall_ms.append(wall_ms)

    def timing(self, clock: str) -> Timing:
        return Timing(self.latency_ms, clock, self.wall_ms or None)


def measure(
    runner: Runner, dataset: CocoDataset, config: BenchConfig, device: torch.device, progress: OnProgress
) -> SpeedResult:
    """Time a predictor on the images of a dataset, which are gone round as often as the protocol needs.

    Every batch is timed three times, one way after the other: end to end, by stages, and at the ``model`` boundary.
    So a drift of the machine falls on all three alike, and they can be compared.
    """
    size = config.batch_size
    timed = _Timed(runner, Clock(device))
    first_call_ms = _warm_up(timed, batches(dataset.images, size), config.protocol.warmup_batches)
    for records in batches(dataset.images, size):
        timed.end_to_end(records)
        timed.by_stages(records)
        timed.whole(records)
        enough = _fraction_of_enough(timed.model, config)
        progress("speed", enough, 1.0, size)
        if enough >= 1:
            break
    host, clock = "perf_counter", timed.clock.name
    return SpeedResult(
        batch_size=size,
        warmup_batches=config.protocol.warmup_batches,
        first_call_ms=first_call_ms,
        model=timed.model.timing(clock),
        end_to_end=timed.service.timing(host),
        preprocess=timed.preprocess.timing(host),
        network=timed.network.timing(clock),
        postprocess=timed.postprocess.timing(clock),
        detections_per_image=timed.detections,
        image_sizes=timed.image_sizes,
        input_sizes=timed.input_sizes,
    )


def _fraction_of_enough(model: _Samples, config: BenchConfig) -> float:
    """How much of what the protocol asks of the headline is measured: 1 is enough."""
    protocol = config.protocol
    images, seconds = len(model.latency_ms) * config.batch_size, model.total_ms / 1000
    least = min(images / protocol.min_images, seconds / protocol.min_seconds if protocol.min_seconds else 1.0)
    return min(1.0, max(least, seconds / protocol.max_seconds))


def _warm_up(timed: _Timed, unseen: Iterator[Sequence[ImageRecord]], count: int) -> float:
    """Milliseconds of the very first call; ``count`` batches follow it untimed."""
    runner = timed.runner
    batch = runner.preprocess(read_images(next(unseen)))
    _, first_call_ms = timed.clock.time_on_host(functools.partial(runner.model, batch))
    for _ in range(count):
        runner.model(runner.preprocess(read_images(next(unseen))))
    return first_call_ms


class _Timed:
    """The three ways to time a batch, and what they have measured so far."""

    def __init__(self, runner: Runner, clock: Clock) -> None:
        self.runner = runner
        self.clock = clock
        self.service, self.model = _Samples(), _Samples()
        self.preprocess, self.network, self.postprocess = _Samples(), _Samples(), _Samples()
        self.detections: list[int] = []
        self.image_sizes: list[list[int]] = []
        self.input_sizes: list[list[int]] = []

    def end_to_end(self, records: Sequence[ImageRecord]) -> None:
        """What a service does: decode the files, resize, model, masks to RLE on the host."""

        def serve() -> list[list[dict[str, Any]]]:
            found = self.runner.model(self.runner.preprocess(read_images(records)))
            return [masks_to_rle(instances.masks) for instances in found]

        self.service.add(self.clock.time_on_host(serve)[1])

    def by_stages(self, records: Sequence[ImageRecord]) -> None:
        """Each stage, synchronised between them; mask functions inside ``forward`` count as postprocess."""
        images = read_images(records)
        with MaskFunctionTimer(self.runner.predictor.mask_functions, self.clock) as inside:
            batch, preprocess_ms = self.clock.time_on_host(functools.partial(self.runner.preprocess, images))
            raw, forward_ms, forward_wall_ms = self.clock.time(functools.partial(self.runner.forward, batch))
            _, mask_ms, mask_wall_ms = self.clock.time(functools.partial(self.runner.postprocess, raw))
        self.preprocess.add(preprocess_ms)
        self.network.add(forward_ms - inside.spent_ms, forward_wall_ms)
        self.postprocess.add(mask_ms + inside.spent_ms, mask_wall_ms)

    def whole(self, records: Sequence[ImageRecord]) -> None:
        """The headline: ``forward`` and ``postprocess`` with nothing in between."""
        images = read_images(records)
        batch = self.runner.preprocess(images)
        found, latency_ms, wall_ms = self.clock.time(functools.partial(self.runner.model, batch))
        self.model.add(latency_ms, wall_ms)
        self.detections += [len(instances) for instances in found]
        self.image_sizes += [list(image.shape[:2]) for image in images]
        if padded := self.runner.predictor.input_size(batch):
            self.input_sizes.append(list(padded))


class MaskFunctionTimer(contextlib.AbstractContextManager["MaskFunctionTimer"]):
    """Brackets library functions ("package.module:Class.method") and sums the milliseconds spent in them."""

    def __init__(self, functions: Sequence[str], clock: Clock) -> None:
        self.spent_ms = 0.0
        self._functions = functions
        self._clock = clock
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> MaskFunctionTimer:
        for name in self._functions:
            module_name, _, path = name.partition(":")
            *parents, attribute = path.split(".")
            owner = functools.reduce(getattr, parents, importlib.import_module(module_name))
            original = getattr(owner, attribute)
            timed = self._bracketed(original)
            # getattr has unwrapped or bound a staticmethod or classmethod; its own form is in the class's dictionary.
            kept = vars(owner).get(attribute)
            unbound = isinstance(kept, (staticmethod, classmethod))
            setattr(owner, attribute, staticmethod(timed) if unbound else timed)
            if kept is None:
                self._undo.callback(delattr, owner, attribute)
            else:
                self._undo.callback(setattr, owner, attribute, kept)
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    def _bracketed(self, function: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> T:
            value, latency_ms, _ = self._clock.time(lambda: function(*args, **kwargs))
            self.spent_ms += latency_ms
            return value

        return timed
