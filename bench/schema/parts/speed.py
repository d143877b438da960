"""What the speed pass measures: raw latencies, and what was read of the GPU and the host meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.files.bounds import Agreeing, Amount, Count, Percent, PositiveCount, Size


@dataclass
class Timing(Agreeing):
    """Raw latencies of one boundary or stage, one for each batch, in the order in which they were measured.

    clock: ``perf_counter`` (the host's, synchronised before and after) or ``cuda_event``
    wall_ms: on a GPU the time of the same batches by the host's clock; None where ``clock`` is the host's
    """

    latency_ms: list[Amount]
    clock: str
    wall_ms: list[Amount] | None = None

    def check(self) -> None:
        """See :class:`Agreeing`."""
        if self.wall_ms is not None and len(self.wall_ms) != len(self.latency_ms):
            raise ValueError(f"wall_ms has {len(self.wall_ms)} entries, latency_ms {len(self.latency_ms)}")


@dataclass
class CompileResult:
    """What ``torch.compile`` did in the newest worker.

    parts: names of the parts of the network that were compiled
    seconds: how long compiling took
    graphs: how many graphs it made; new input shapes may add some
    graph_breaks: how often it had to leave a graph
    recompilations: how often it had to compile anew what was compiled, since an input had another shape
    """

    mode: str
    parts: list[str]
    seconds: Amount
    graphs: Count
    graph_breaks: Count
    recompilations: Count = 0


@dataclass
class GpuReadings:
    """Readings of the GPU during one round, at most ten a second; None in a list stands for a refused value.

    throttled: reason (:data:`bench.device.gpu.THROTTLE_REASONS`) -> in how many readings it throttled the GPU
    dropped_batches: how many batches were left out of the samples because the GPU was throttled
    kept_throttled: throttled batches were kept, since more than half would have been left out or the rounds are
        interleaved
    """

    sm_clock_mhz: list[Count | None]
    memory_clock_mhz: list[Count | None]
    temperature_celsius: list[int | None]
    power_watts: list[Amount | None]
    throttled: dict[str, Count]
    dropped_batches: Count
    kept_throttled: bool


@dataclass
class HostReadings:
    """What others did on the cores of this process during one round, read between batches, about twice a second.

    others_percent: share of the cores' time that other processes or other machines (steal) took, one a reading
    steal_percent: the part of it that other virtual machines took
    waited_percent: share of the time in which threads of this process wanted a core, in which they waited for one, one
        a reading; empty where the kernel does not tell
    disturbed_batches: how many of the round's samples were timed while others disturbed them
        (:mod:`bench.device.host` has the rule)
    involuntary_switches: how often a thread of this process had to leave its core
    load_1min: load of the machine over the last minute as the round ended
    cores: the cores that this process may run on
    pinned: whether they are its own (``protocol.pin``)
    """

    others_percent: list[Percent]
    steal_percent: list[Percent]
    disturbed_batches: Count
    waited_percent: list[Percent] = field(default_factory=list)
    involuntary_switches: Count | None = None
    load_1min: Amount | None = None
    cores: list[Count] = field(default_factory=list)
    pinned: bool = False


@dataclass
class Neighbours:
    """What the other slots of the same command did during one round, by the command's own account.

    slots: how many others there are
    busy_percent: share of the timing in which at least one of them ran something
    busy_slots: how many of them ran something, on average over the timing
    """

    slots: PositiveCount
    busy_percent: Percent
    busy_slots: Amount


@dataclass
class SpeedRound:
    """The part of the speed pass that one process measured.

    samples: how many of the timed batches are its own
    first_call_ms: latency of the very first batch, compilation and the choice of algorithms included
    warmup_ms: latencies of the warm-up, batch by batch
    warmup_stable: whether the warm-up ended because they no longer fell
    recompilations: how often ``torch.compile`` compiled anew while the samples were taken
    neighbours: None where the command had one slot, or was killed before it wrote this
    """

    samples: Count
    first_call_ms: Amount
    warmup_ms: list[Amount]
    warmup_stable: bool
    started: str | None = None
    gpu: GpuReadings | None = None
    host: HostReadings | None = None
    recompilations: Count = 0
    neighbours: Neighbours | None = None


@dataclass
class SpeedResult(Agreeing):
    """The speed pass. The samples of all rounds stand one behind the other.

    model, end_to_end: timings of these boundaries, each timed as a whole
    decode, preprocess, network, postprocess, encode: timings of the stages, in calls of their own; ``network`` is a
        boundary too. Files of before there were the first and the last have None there
    detections_per_image: of the images of the ``model`` boundary
    image_sizes: [height, width] of the same images, in pixels
    input_sizes: [height, width] of each batch of the ``model`` boundary, in pixels, with the padding
    timed_images: how many images each round went round; None in files of before there were such laps
    lap_batches: after how many batches it had been round them, each image as often as every other
    """

    batch_size: PositiveCount
    rounds: list[SpeedRound]
    model: Timing
    end_to_end: Timing
    preprocess: Timing
    network: Timing
    postprocess: Timing
    detections_per_image: list[Count]
    image_sizes: list[Size]
    input_sizes: list[Size]
    decode: Timing | None = None
    encode: Timing | None = None
    timed_images: PositiveCount | None = None
    lap_batches: PositiveCount | None = None

    def check(self) -> None:
        """See :class:`Agreeing`."""
        samples = sum(part.samples for part in self.rounds)
        for name in ("model", "end_to_end", "decode", "preprocess", "network", "postprocess", "encode"):
            timed = getattr(self, name)
            if timed is not None and len(timed.latency_ms) != samples:
                raise ValueError(
                    f"speed.rounds have {samples} samples, speed.{name}.latency_ms has {len(timed.latency_ms)}"
                )
        for part in self.rounds:
            if part.host is not None and part.host.disturbed_batches > part.samples:
                raise ValueError(
                    f"speed.rounds: host.disturbed_batches is {part.host.disturbed_batches}, of {part.samples} samples"
                )
        for name in ("model", "end_to_end"):
            timing: Timing = getattr(self, name)
            if any(ms == 0 for samples_ms in (timing.latency_ms, timing.wall_ms or ()) for ms in samples_ms):
                raise ValueError(f"speed.{name} has a time of 0 ms, in which nothing can be done")
        images = len(self.image_sizes)
        if len(self.detections_per_image) != images or not samples <= images <= samples * self.batch_size:
            raise ValueError(
                f"speed.image_sizes has {images} entries, speed.detections_per_image {len(self.detections_per_image)}, "
                f"of {samples} batches of at most {self.batch_size} images"
            )
        if len(self.input_sizes) > samples:
            raise ValueError(f"speed.input_sizes has {len(self.input_sizes)} entries, of {samples} batches")
