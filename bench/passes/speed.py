"""The timing pass: it records raw latencies of the boundaries and the stages, and summarises nothing.

``model`` and ``end_to_end`` are timed whole; the five stages (``decode``, ``preprocess``, ``network``, ``postprocess``
and ``encode``) in calls of their own, with a synchronisation between them, so that splitting never slows the headline.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from statistics import median
from typing import Any

from bench.data.images import ImageRecord, batches, read_images
from bench.device import compiling, cores
from bench.device.clock import Clock, MaskFunctionTimer
from bench.device.gpu import Watch
from bench.device.host import HostWatch
from bench.evaluation.intervals import median_reach
from bench.evaluation.rle import masks_to_rle
from bench.passes.base import Context, RunsTheModel
from bench.passes.laps import batches_of_a_lap, timed_images
from bench.passes.runner import Runner
from bench.predictor import Instances, TorchPredictor
from bench.schema.config import ProtocolConfig
from bench.schema.latency import TIMINGS
from bench.schema.parts.speed import SpeedResult, SpeedRound, Timing

STILL_FALLING = 0.02
"""The share by which warm-up batches must take less time than at the last repetition for the warm-up to go on."""


class _Latencies:
    """Collects the latencies of one boundary or stage, in milliseconds."""

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


class SpeedPass(RunsTheModel):
    """Times the model for one round, on the same images as every other row, repeated as often as the protocol needs.

    Every batch is timed three times: end to end, by stages, and at the ``model`` boundary. So a drift of the machine
    affects all three alike, and they can be compared.
    """

    def measure(self, context: Context) -> SpeedResult:
        """Give the samples of the job's earlier rounds, followed by those of this round.

        Batches that were timed while the GPU was throttled by power or heat are left out and counted. Those that others
        on the host's cores disturbed are counted and kept.

        Raises:
            UserError: the clock gave an impossible time.
            ValueError: the first batch breaks a promise of the predictor's interface.
        """
        config, interleaved = context.config, context.round
        images = timed_images(context.dataset.images, config.protocol, context.device.type != "cpu")
        samples = _Samples(context.runner, Clock(context.device), images)
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        again = interleaved is not None and not interleaved.first
        context.begins("warm_up")
        warm_up = _warm_again(samples, context) if again else _warm_up(samples, context)
        context.begins("speed")
        watch, host = Watch(context.gpu), HostWatch()
        compiled_before = compiling.frames()
        throttled = _time_batches(samples, context, watch, host)
        recompiled = compiling.frames() - compiled_before
        dropped = sum(throttled)
        # Where rounds are interleaved, the GPU is throttled for both processes, and both must keep the same images.
        keep_all = interleaved is not None or 2 * dropped > len(throttled)
        readings = watch.readings(0 if keep_all else dropped, keep_all)
        on_host = host.readings([] if keep_all else throttled, cores.is_pinned())
        timed = dataclasses.replace(warm_up, samples=len(throttled), started=started, gpu=readings, host=on_host)
        timed.recompilations = recompiled
        speed = samples.result(config.batch_size, timed)
        if dropped and not keep_all:
            speed = _without(speed, throttled)
        _record_compiling(context)
        earlier = context.result.speed
        return speed if earlier is None else _joined(earlier, speed)


def _record_compiling(context: Context) -> None:
    """Write into the result what compiling took; a row of a model that ran uncompiled says so."""
    mode = context.config.compile
    if mode == "none" or not isinstance(context.predictor, TorchPredictor):
        return
    recompilations = context.compiled.recompilations if context.compiled else 0
    context.result.compiled = compiling.outcome(context.predictor, mode, recompilations)
    if given_up := compiling.left_uncompiled():
        context.note(
            f"compile={mode}: torch.compile gave up {given_up} of {compiling.frames()} pieces of the model's code, "
            f"which ran uncompiled; worker.log says why"
        )


def _time_batches(samples: _Samples, context: Context, watch: Watch, host: HostWatch) -> list[bool]:
    """Time batches until there are enough; give for each whether the GPU was throttled."""
    config = context.config
    lap = batches_of_a_lap(len(samples.images), config.batch_size)
    enough = _Enough(config.protocol, lap, context.round.batches if context.round else None)
    throttled: list[bool] = []
    for records in batches(samples.images, config.batch_size):
        samples.meet(records)
        samples.end_to_end(records)
        samples.by_stages(records)
        samples.whole(records)
        throttled.append(watch.throttled())
        host.batch_ended()
        fraction = enough.fraction(samples.model)
        context.progress("speed", fraction, 1.0, config.batch_size)
        if fraction >= 1:
            break
    return throttled


class _Enough:
    """Decides when a round ends: by its share of the samples, the precision and the time that the protocol asks for.

    The interval of the median narrows with the root of the number of samples, so R rounds that each come within the
    precision times the root of R come within it together. A round ends after a whole lap of its images, unless the time
    is over in the first one. A number of ``batches`` replaces all of this.
    """

    def __init__(self, protocol: ProtocolConfig, lap: int, batches: int | None = None) -> None:
        rounds = protocol.rounds
        self._batches = batches
        self._lap = lap
        self._least = math.ceil(protocol.min_samples / rounds)
        self._precision = protocol.precision * math.sqrt(rounds)
        self._max_ms = 1000 * protocol.max_seconds / rounds
        self._next_look = self._least

    def fraction(self, model: _Latencies) -> float:
        """Give the share of the round that is done; at 1 it ends."""
        samples = len(model.latency_ms)
        if self._batches is not None:
            return samples / self._batches
        spent, laps = model.total_ms / self._max_ms, samples / self._lap
        if laps < 1:
            return 1.0 if spent >= 1 else max(spent, min(0.9, laps, samples / self._least))
        if samples % self._lap == 0:
            if spent * (laps + 1) / laps > 1:  # another lap would take too long
                return 1.0
            if samples >= self._next_look:
                # Sorting after every lap would be most of the work for a fast model.
                self._next_look = samples + max(1, samples // 20)
                reach = median_reach(model.latency_ms)
                if reach is not None and reach <= self._precision:
                    return 1.0
        return min(0.99, max(spent, min(0.9, samples / self._least)))


def _warm_up(samples: _Samples, context: Context) -> SpeedRound:
    """Time the first call, then repeat the same few batches until they take no less time than at the last repetition.

    It repeats the same batches because times of different images differ more than those of a cold and a warm machine.
    """
    protocol, size = context.config.protocol, context.config.batch_size
    chosen = list(itertools.islice(batches(samples.images, size), max(1, protocol.warmup_batches)))
    first_call_ms = _first_call(samples, context, chosen[0])
    if context.compiled is not None:
        context.compiled.first_call_done()
        context.warm_every_shape()
    if protocol.warmup_batches == 0:
        return SpeedRound(0, first_call_ms, [], True)
    latencies: list[float] = []
    before, now, stable = math.inf, math.inf, False
    deadline = time.monotonic() + protocol.max_warmup_seconds
    while not stable and (not latencies or time.monotonic() < deadline):
        lap = [samples.untimed(records) for records in chosen]
        latencies += lap
        before, now = now, median(lap)
        stable = now >= before * (1 - STILL_FALLING)
    return SpeedRound(0, first_call_ms, latencies, stable)


def _first_call(samples: _Samples, context: Context, records: Sequence[ImageRecord]) -> float:
    """Give the milliseconds of the very first call, and check its output against the predictor's promises."""
    images = read_images(records)
    batch = samples.runner.preprocess(images)
    instances, first_call_ms = samples.clock.time_on_host(functools.partial(samples.runner.model, batch))
    context.validate(records, instances)
    context.look_for_nan(images)
    _encoded(instances)  # on a GPU, the kernels that find the runs are compiled at the first call
    return first_call_ms


def _warm_again(samples: _Samples, context: Context) -> SpeedRound:
    """Run one batch as warm-up: the process was warm before another one had its round."""
    records = next(iter(batches(samples.images, context.config.batch_size)))
    return SpeedRound(0, samples.untimed(records), [], True)


def _without(result: SpeedResult, dropped: Sequence[bool]) -> SpeedResult:
    """Give the result of one round without the batches that are marked in ``dropped``."""

    def kept(values: list[Any], an_image: int = 1) -> list[Any]:
        return [value for place, value in enumerate(values) if not dropped[place // an_image]]

    left: dict[str, Any] = {}
    for name in TIMINGS:
        timing: Timing | None = getattr(result, name)
        if timing is None:
            continue
        wall = kept(timing.wall_ms) if timing.wall_ms is not None else None
        left[name] = Timing(kept(timing.latency_ms), timing.clock, wall)
    for name in ("detections_per_image", "image_sizes"):
        left[name] = kept(getattr(result, name), result.batch_size)
    left["input_sizes"] = kept(result.input_sizes) if result.input_sizes else []
    left["rounds"] = [dataclasses.replace(result.rounds[0], samples=dropped.count(False))]
    return dataclasses.replace(result, **left)


def _joined(earlier: SpeedResult, later: SpeedResult) -> SpeedResult:
    """Join two results; the lists of ``later`` follow those of ``earlier``."""

    def timing(name: str) -> Timing | None:
        one, other = getattr(earlier, name), getattr(later, name)
        if one is None or other is None:
            return None
        wall = one.wall_ms + other.wall_ms if one.wall_ms and other.wall_ms else None
        return Timing(one.latency_ms + other.latency_ms, other.clock, wall)

    joined: dict[str, Any] = {name: timing(name) for name in TIMINGS}
    for name in ("rounds", "detections_per_image", "image_sizes", "input_sizes"):
        joined[name] = getattr(earlier, name) + getattr(later, name)
    return dataclasses.replace(later, **joined)


class _Samples:
    """Times batches in three ways, and holds the samples and the images that they are of."""

    def __init__(self, runner: Runner, clock: Clock, images: Sequence[ImageRecord]) -> None:
        self.runner = runner
        self.clock = clock
        self.images = images
        self.service, self.model = _Latencies(), _Latencies()
        self.decode, self.preprocess, self.network = _Latencies(), _Latencies(), _Latencies()
        self.postprocess, self.encode = _Latencies(), _Latencies()
        self.detections: list[int] = []
        self.image_sizes: list[list[int]] = []
        self.input_sizes: list[list[int]] = []

    def result(self, batch_size: int, this_round: SpeedRound) -> SpeedResult:
        """Give the samples as the result of one round."""
        host, clock = "perf_counter", self.clock.name
        return SpeedResult(
            batch_size=batch_size,
            rounds=[this_round],
            model=self.model.timing(clock),
            end_to_end=self.service.timing(host),
            preprocess=self.preprocess.timing(host),
            network=self.network.timing(clock),
            postprocess=self.postprocess.timing(clock),
            detections_per_image=self.detections,
            image_sizes=self.image_sizes,
            input_sizes=self.input_sizes,
            decode=self.decode.timing(host),
            encode=self.encode.timing(host),
            timed_images=len(self.images),
            lap_batches=batches_of_a_lap(len(self.images), batch_size),
        )

    def untimed(self, records: Sequence[ImageRecord]) -> float:
        """Run a batch that becomes no sample; give its milliseconds at the ``model`` boundary."""
        batch = self.runner.preprocess(read_images(records))
        self._is_new(records, batch)
        return self.clock.time_on_host(functools.partial(self.runner.model, batch))[1]

    def meet(self, records: Sequence[ImageRecord]) -> None:
        """Run a batch once before it is timed, where no batch of this process had the same shape of input.

        Kernels are chosen and memory is taken for a new shape: on an H100, the first call of a Mask R-CNN took 90 to
        140 ms longer, all of which fell on what was timed first.
        """
        sizes = _sizes(records)
        if sizes in self.runner.met:
            return
        batch = self.runner.preprocess(read_images(records))
        if self._is_new(records, batch):
            self.runner.model(batch)
            self.clock.synchronize()

    def _is_new(self, records: Sequence[ImageRecord], batch: Any) -> bool:
        """Tell whether the shape of a batch's input is new, and remember it."""
        sizes, met = _sizes(records), self.runner.met
        shape = self.runner.predictor.input_size(batch)
        keys = {sizes} if shape is None else {sizes, (len(records), *shape)}
        new = keys - met == keys
        met |= keys
        return new

    def end_to_end(self, records: Sequence[ImageRecord]) -> None:
        """Time what a service does: decode the files, resize, run the model, encode masks as RLE on the host."""

        def serve() -> list[list[dict[str, Any]]]:
            outputs = self.runner.model(self.runner.preprocess(read_images(records)))
            return _encoded(outputs)

        self.service.add(self.clock.time_on_host(serve)[1])

    def by_stages(self, records: Sequence[ImageRecord]) -> None:
        """Time each stage, synchronising between them; mask functions inside ``forward`` count as postprocess."""
        images, decode_ms = self.clock.time_on_host(functools.partial(read_images, records))
        with MaskFunctionTimer(self.runner.predictor.mask_functions, self.clock) as inside:
            batch, preprocess_ms = self.clock.time_on_host(functools.partial(self.runner.preprocess, images))
            raw, forward_ms, forward_wall_ms = self.clock.time(functools.partial(self.runner.forward, batch))
            outputs, mask_ms, mask_wall_ms = self.clock.time(functools.partial(self.runner.postprocess, raw))
        _, encode_ms = self.clock.time_on_host(functools.partial(_encoded, outputs))
        self.decode.add(decode_ms)
        self.preprocess.add(preprocess_ms)
        self.network.add(max(0.0, forward_ms - inside.spent_ms), forward_wall_ms)
        self.postprocess.add(mask_ms + inside.spent_ms, mask_wall_ms)
        self.encode.add(encode_ms)

    def whole(self, records: Sequence[ImageRecord]) -> None:
        """Time the ``model`` boundary: ``forward`` and ``postprocess`` with nothing in between."""
        images = read_images(records)
        batch = self.runner.preprocess(images)
        outputs, latency_ms, wall_ms = self.clock.time(functools.partial(self.runner.model, batch))
        if len(outputs) != len(images):
            name = type(self.runner.predictor).__name__
            raise ValueError(f"{name}.postprocess: gave {len(outputs)} Instances for {len(images)} images of a batch")
        self.model.add(latency_ms, wall_ms)
        self.detections += [len(instances) for instances in outputs]
        self.image_sizes += [list(image.shape[:2]) for image in images]
        if padded := self.runner.predictor.input_size(batch):
            height, width = padded
            self.input_sizes.append([int(height), int(width)])


def _sizes(records: Sequence[ImageRecord]) -> tuple[tuple[int, int], ...]:
    return tuple((record.height, record.width) for record in records)


def _encoded(outputs: Sequence[Instances]) -> list[list[dict[str, Any]]]:
    return [masks_to_rle(instances.masks) for instances in outputs]


PASS = SpeedPass()
