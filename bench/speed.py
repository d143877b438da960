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
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from bench.config import BenchConfig, ProtocolConfig
from bench.dataset import CocoDataset, ImageRecord, read_image
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
    runner: Runner, dataset: CocoDataset, config: BenchConfig, device: torch.device, progress: OnProgress
) -> SpeedResult:
    """Time a predictor on the images of a dataset, which are gone round as often as the protocol needs."""
    size = config.batch_size
    loops = _Loops(runner, dataset.images, config, Clock(device), progress)
    first_call_ms = loops.warm_up()
    # The headline comes last, when every library has met these shapes and is warm; all loops see the same images.
    end_to_end = loops.end_to_end()
    preprocess, network, postprocess = loops.stages()
    seen = _Seen()
    model = loops.model(seen)
    return SpeedResult(
        batch_size=size,
        warmup_batches=config.protocol.warmup_batches,
        first_call_ms=first_call_ms,
        model=model,
        end_to_end=end_to_end,
        preprocess=preprocess,
        network=network,
        postprocess=postprocess,
        detections_per_image=seen.detections,
        image_sizes=seen.image_sizes,
        input_sizes=seen.input_sizes,
    )


@dataclass
class _Seen:
    """What stood in the timed batches; without it a latency means little."""

    detections: list[int] = field(default_factory=list)
    image_sizes: list[list[int]] = field(default_factory=list)
    input_sizes: list[list[int]] = field(default_factory=list)


class _Loops:
    """The three timed loops over the same images, and the warm-up before them."""

    def __init__(
        self,
        runner: Runner,
        records: Sequence[ImageRecord],
        config: BenchConfig,
        clock: Clock,
        progress: OnProgress,
    ) -> None:
        self._runner = runner
        self._records = records
        self._protocol, self._size = config.protocol, config.batch_size
        self._clock = clock
        self._progress = progress
        self._loop = 0

    def warm_up(self) -> float:
        """Milliseconds of the first call; the warm-up batches follow it."""
        batches = self._batches()
        batch = self._runner.preprocess(_read(next(batches)))
        _, first_call_ms = self._clock.time_on_host(functools.partial(self._runner.model, batch))
        for _ in range(self._protocol.warmup_batches):
            self._runner.model(self._runner.preprocess(_read(next(batches))))
        return first_call_ms

    def end_to_end(self) -> Timing:
        """What a service does: decode the files, resize, model, masks to RLE on the host."""
        samples = self._samples()
        for records in self._until_enough(samples):
            samples.add(self._clock.time_on_host(functools.partial(self._serve, records))[1])
        return samples.timing("perf_counter")

    def stages(self) -> tuple[Timing, Timing, Timing]:
        """Preprocess, network and postprocess, synchronised between them.

        Mask functions inside ``forward`` count as postprocess.
        """
        preprocess, network, postprocess = self._samples(), self._samples(), self._samples()
        with MaskFunctionTimer(self._runner.predictor.mask_functions, self._clock) as inside:
            for records in self._until_enough(postprocess):
                images = _read(records)
                batch, preprocess_ms = self._clock.time_on_host(functools.partial(self._runner.preprocess, images))
                inside.spent_ms = 0.0
                raw, forward_ms, forward_wall_ms = self._clock.time(functools.partial(self._runner.forward, batch))
                moved_ms = inside.spent_ms
                _, mask_ms, mask_wall_ms = self._clock.time(functools.partial(self._runner.postprocess, raw))
                preprocess.add(preprocess_ms)
                network.add(forward_ms - moved_ms, forward_wall_ms)
                postprocess.add(mask_ms + moved_ms, mask_wall_ms)
        return preprocess.timing("perf_counter"), network.timing(self._clock.name), postprocess.timing(self._clock.name)

    def model(self, seen: _Seen) -> Timing:
        """The headline: ``forward`` and ``postprocess`` whole."""
        samples = self._samples()
        for records in self._until_enough(samples):
            images = _read(records)
            batch = self._runner.preprocess(images)
            found, latency_ms, wall_ms = self._clock.time(functools.partial(self._runner.model, batch))
            samples.add(latency_ms, wall_ms)
            seen.detections += [len(instances) for instances in found]
            seen.image_sizes += [list(image.shape[:2]) for image in images]
            if padded := self._runner.predictor.input_size(batch):
                seen.input_sizes.append(list(padded))
        return samples.timing(self._clock.name)

    def _serve(self, records: Sequence[ImageRecord]) -> list[list[dict[str, Any]]]:
        found = self._runner.model(self._runner.preprocess(_read(records)))
        return [masks_to_rle(instances.masks) for instances in found]

    def _samples(self) -> _Samples:
        return _Samples(self._protocol, self._size)

    def _until_enough(self, samples: _Samples) -> Iterator[Sequence[ImageRecord]]:
        """Batches from the first image on, until the samples are enough by the protocol."""
        for records in self._batches():
            yield records
            self._progress("speed", (self._loop + samples.fraction()) / 3, 1.0, self._size)
            if samples.fraction() >= 1:
                self._loop += 1
                return

    def _batches(self) -> Iterator[Sequence[ImageRecord]]:
        """Batches of consecutive images, round and round."""
        start = 0
        while True:
            yield [self._records[(start + i) % len(self._records)] for i in range(self._size)]
            start = (start + self._size) % len(self._records)


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


def _read(records: Sequence[ImageRecord]) -> list[np.ndarray]:
    return [read_image(record) for record in records]
