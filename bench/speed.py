"""The timing pass: raw latencies of the boundaries and the stages, nothing summarised.

``model`` and ``end_to_end`` are timed whole; ``preprocess``, ``network`` and ``postprocess`` in a loop of their own,
with a synchronisation between them, so that splitting never slows the headline.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from bench.config import BenchConfig, ProtocolConfig
from bench.dataset import CocoDataset, ImageRecord, read_image
from bench.predictor import Instances, Predictor
from bench.result import SpeedResult, Timing
from bench.rle import masks_to_rle

T = TypeVar("T")
Context = Callable[[], contextlib.AbstractContextManager[Any]]
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
    """Latencies as they come, and whether there are enough by the protocol."""

    def __init__(self, protocol: ProtocolConfig, batch_size: int) -> None:
        self.latency_ms: list[float] = []
        self.wall_ms: list[float] = []
        self._protocol = protocol
        self._batch_size = batch_size
        self._began = time.monotonic()

    def add(self, latency_ms: float, wall_ms: float | None = None) -> None:
        self.latency_ms.append(latency_ms)
        if wall_ms is not None:
            self.wall_ms.append(wall_ms)

    @property
    def images(self) -> int:
        return len(self.latency_ms) * self._batch_size

    def fraction(self) -> float:
        """How much of what the protocol asks for is there: 1 is enough."""
        elapsed = time.monotonic() - self._began
        p = self._protocol
        wanted = min(self.images / p.min_images, elapsed / p.min_seconds if p.min_seconds else 1.0)
        return min(1.0, max(wanted, elapsed / p.max_seconds)) if self.latency_ms else 0.0

    def timing(self, clock: str) -> Timing:
        return Timing(self.latency_ms, clock, self.wall_ms or None)


def measure(
    predictor: Predictor,
    dataset: CocoDataset,
    config: BenchConfig,
    device: torch.device,
    context: Context,
    progress: OnProgress,
) -> SpeedResult:
    """Time a predictor on the images of a dataset, which are gone round as often as the protocol needs.

    context: a factory of the autocast context of the precision.
    """
    protocol, size = config.protocol, config.batch_size
    clock = Clock(device)
    done = 0.0

    def report(samples: _Samples) -> None:
        progress("speed", (done + samples.fraction()) / 3, 1.0, size)

    def model(batch: Any) -> list[Instances]:
        return predictor.postprocess(predictor.forward(batch))

    with torch.inference_mode(), context():
        batches = _batches(dataset.images, size)
        batch = predictor.preprocess(_read(next(batches)))
        _, first_call_ms = clock.time_on_host(lambda: model(batch))
        for _ in range(protocol.warmup_batches):
            model(predictor.preprocess(_read(next(batches))))

        # The headline comes last, when every library has met these shapes and is warm; all loops see the same images.
        service = _Samples(protocol, size)
        for records in _batches(dataset.images, size):
            service.add(clock.time_on_host(functools.partial(_serve, predictor, model, records))[1])
            report(service)
            if service.fraction() >= 1:
                break

        done = 1.0
        stages = _time_stages(predictor, _batches(dataset.images, size), protocol, size, clock, report)

        done = 2.0
        whole = _Samples(protocol, size)
        detections: list[int] = []
        image_sizes: list[list[int]] = []
        input_sizes: list[list[int]] = []
        for records in _batches(dataset.images, size):
            images = _read(records)
            batch = predictor.preprocess(images)
            found, latency_ms, wall_ms = clock.time(functools.partial(model, batch))
            whole.add(latency_ms, wall_ms)
            detections += [len(instances) for instances in found]
            image_sizes += [list(image.shape[:2]) for image in images]
            if padded := predictor.input_size(batch):
                input_sizes.append(list(padded))
            report(whole)
            if whole.fraction() >= 1:
                break

    return SpeedResult(
        batch_size=size,
        warmup_batches=protocol.warmup_batches,
        first_call_ms=first_call_ms,
        model=whole.timing(clock.name),
        end_to_end=service.timing("perf_counter"),
        preprocess=stages["preprocess"],
        network=stages["network"],
        postprocess=stages["postprocess"],
        detections_per_image=detections,
        image_sizes=image_sizes,
        input_sizes=input_sizes,
    )


def _serve(
    predictor: Predictor, model: Callable[[Any], list[Instances]], records: Sequence[ImageRecord]
) -> list[list[dict[str, Any]]]:
    """What a service does for one batch: decode the files, resize, model, masks to RLE on the host."""
    return [masks_to_rle(instances.masks) for instances in model(predictor.preprocess(_read(records)))]


def _time_stages(
    predictor: Predictor,
    batches: Iterator[Sequence[ImageRecord]],
    protocol: ProtocolConfig,
    batch_size: int,
    clock: Clock,
    report: Callable[[_Samples], None],
) -> dict[str, Timing]:
    """One loop with a synchronisation between the stages. Mask functions inside ``forward`` count as postprocess."""
    samples = {name: _Samples(protocol, batch_size) for name in ("preprocess", "network", "postprocess")}
    with MaskFunctionTimer(predictor.mask_functions, clock) as inside:
        for records in batches:
            images = _read(records)
            batch, preprocess_ms = clock.time_on_host(functools.partial(predictor.preprocess, images))
            inside.spent_ms = 0.0
            raw, forward_ms, forward_wall_ms = clock.time(functools.partial(predictor.forward, batch))
            moved_ms = inside.spent_ms
            _, post_ms, post_wall_ms = clock.time(functools.partial(predictor.postprocess, raw))
            samples["preprocess"].add(preprocess_ms)
            samples["network"].add(forward_ms - moved_ms, forward_wall_ms)
            samples["postprocess"].add(post_ms + moved_ms, post_wall_ms)
            report(samples["postprocess"])
            if samples["postprocess"].fraction() >= 1:
                break
    clocks = {"preprocess": "perf_counter", "network": clock.name, "postprocess": clock.name}
    return {name: stage.timing(clocks[name]) for name, stage in samples.items()}


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


def _batches(records: Sequence[ImageRecord], size: int) -> Iterator[Sequence[ImageRecord]]:
    """Batches of consecutive images, round and round."""
    start = 0
    while True:
        yield [records[(start + i) % len(records)] for i in range(size)]
        start = (start + size) % len(records)


def _read(records: Sequence[ImageRecord]) -> list[np.ndarray]:
    return [read_image(record) for record in records]
