"""``result.json``: what one job measured. It is read and written only here.

The names of the fields end in their units. What was not measured is None (``null``), never 0. Raw samples are kept;
every reader derives its summaries from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from bench.files import json_file
from bench.files.bounds import Agreeing, Amount, Count, Fraction, Items, Like, PositiveCount, SignedFraction, Size
from bench.schema.config import BenchConfig, PublishedConfig
from bench.schema.machine import Machine
from bench.schema.passes import PASSES as PASSES  # each is the name of a field of Result

SCHEMA_VERSION = 3

EARLIER = "earlier"
"""The folder beside ``jobs/`` for results that are no longer what their jobs would measure. No report reads it."""

MEASUREMENT_VERSION = 2
"""Raised when the way of measuring changes, so that figures of before and after are not compared: what a timing
contains, how memory is read, which images are evaluated.

1: results from before there was such a number. 2: memory in a process of its own, whose heap does not adapt.
"""

STATUSES = ("ok", "failed", "out_of_memory", "timeout", "crashed", "skipped")

UNFINISHED = "unfinished"
INTERRUPTED = "interrupted"
"""Reasons of a job that still runs or died without a word, and of a job that the user stopped."""

FINETUNED = "fine-tuned"
"""``ModelInfo.weights`` of a model that the job itself has trained."""

COCO_FIGURES = (
    "mask_ap",
    "mask_ap50",
    "mask_ap75",
    "mask_ap_small",
    "mask_ap_medium",
    "mask_ap_large",
    "mask_ar_1",
    "mask_ar_10",
    "mask_ar_100",
    "mask_ar_small",
    "mask_ar_medium",
    "mask_ar_large",
)
"""The twelve figures in pycocotools' order (``COCOeval.stats``), as fractions."""


@dataclass(frozen=True)
class Origin:
    """The state of the user's own repository at which a result was measured.

    commit: its full name; None where there is no repository
    branch: None where no branch is checked out
    changed: whether tracked files differed from the commit; None where that is unknown
    changes: a digest of these differences; None where there are none
    """

    commit: str | None = None
    branch: str | None = None
    changed: bool | None = None
    changes: str | None = None


@dataclass
class ModelInfo:
    """The network itself.

    classes: the names of its labels, in order
    weights: ``random``, ``zoo``, :data:`FINETUNED` or the path that was given
    weights_sha256: of the file that was read
    parameters: how many there are
    """

    classes: list[str]
    weights: str
    weights_sha256: str | None = None
    parameters: Count | None = None


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
    """

    mode: str
    parts: list[str]
    seconds: Amount
    graphs: Count
    graph_breaks: Count


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
class SpeedRound:
    """The part of the speed pass that one process measured.

    samples: how many of the timed batches are its own
    first_call_ms: latency of the very first batch, compilation and the choice of algorithms included
    warmup_ms: latencies of the warm-up, batch by batch
    warmup_stable: whether the warm-up ended because they no longer fell
    """

    samples: Count
    first_call_ms: Amount
    warmup_ms: list[Amount]
    warmup_stable: bool
    started: str | None = None
    gpu: GpuReadings | None = None


@dataclass
class SpeedResult(Agreeing):
    """The speed pass. The samples of all rounds stand one behind the other.

    model, end_to_end: timings of these boundaries, each timed as a whole
    preprocess, network, postprocess: timings of the stages, in calls of their own; ``network`` is a boundary too
    detections_per_image: of the images of the ``model`` boundary
    image_sizes: [height, width] of the same images, in pixels
    input_sizes: [height, width] of each batch of the ``model`` boundary, in pixels, with the padding
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

    def check(self) -> None:
        """See :class:`Agreeing`."""
        samples = sum(part.samples for part in self.rounds)
        for name in ("model", "end_to_end", "preprocess", "network", "postprocess"):
            if (timed := len(getattr(self, name).latency_ms)) != samples:
                raise ValueError(f"speed.rounds have {samples} samples, speed.{name}.latency_ms has {timed}")
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


@dataclass
class MemoryResult:
    """The memory pass: five figures, in bytes.

    parameters_bytes, buffers_bytes: None for a runtime that has no module of torch's
    device_source: how ``process_device_bytes`` was read: ``nvml_process``, or ``device_difference`` (the growth of the
        whole GPU) where NVML cannot see the process, as in a container
    host_rss_source: what ``host_rss_bytes`` is: ``resettable_peak``, the peak of this pass, or ``process_peak``
    """

    parameters_bytes: Count | None
    buffers_bytes: Count | None
    peak_allocated_bytes: Count | None = None
    peak_reserved_bytes: Count | None = None
    process_device_bytes: Count | None = None
    device_source: str | None = None
    host_rss_bytes: Count | None = None
    host_rss_source: str | None = None


BOUNDARY_FIGURES = (
    "boundary_ap",
    "boundary_ap50",
    "boundary_ap75",
    "boundary_ap_small",
    "boundary_ap_medium",
    "boundary_ap_large",
)
"""Boundary AP (Cheng et al. 2021), with names like those of the mask figures, as fractions."""

TIDE_ERRORS = ("classification", "localization", "both", "duplicate", "background", "missed")
"""The six error types of TIDE (Bolya et al. 2020)."""


@dataclass
class BootstrapResult(Agreeing):
    """AP of resampled sets of images, fractions. Each set is drawn with replacement and has as many images.

    Replicate r is the same draw for every model on the same images (equal ``images_sha256``, ``seed`` and length), so
    that the difference of two models' lists is a paired bootstrap.
    """

    seed: int
    images_sha256: str
    mask_ap: list[Fraction]
    boundary_ap: list[Fraction] | None = None

    def check(self) -> None:
        """See :class:`Agreeing`."""
        if self.boundary_ap is not None and len(self.boundary_ap) != len(self.mask_ap):
            raise ValueError(f"bootstrap.boundary_ap has {len(self.boundary_ap)} entries, mask_ap {len(self.mask_ap)}")


@dataclass
class Calibration(Agreeing):
    """How far the scores are from the share of true positives at IoU 0.5, in bins of the score.

    expected_error: expected calibration error (Naeini et al. 2015)
    edges: of the bins
    mean_score, precision: in each bin, the mean score and the share of true positives; None in an empty bin. The scores
        of a class of the user's may be any finite numbers
    detections: their number in each bin
    """

    expected_error: Amount
    edges: list[Fraction]
    mean_score: list[float | None]
    precision: list[Fraction | None]
    detections: list[Count]

    def check(self) -> None:
        """See :class:`Agreeing`."""
        if {len(self.mean_score), len(self.precision), len(self.detections)} != {len(self.edges) - 1}:
            raise ValueError(
                f"calibration has {len(self.edges)} edges, so each of its other lists must have {len(self.edges) - 1}"
            )


@dataclass
class ImageFaults:
    """What a model got wrong in one image, at IoU 0.5 and score 0.3.

    missed: number of objects that no detection matches
    false: number of false detections
    mean_iou: mean mask IoU of the true positives, None where there is none
    """

    image_id: int
    missed: Count
    false: Count
    mean_iou: Fraction | None


@dataclass
class AccuracyResult:
    """The accuracy pass. For random weights the fields from ``figures`` on are None, but ``figures_absent`` says why.

    predictions: name of the results file beside ``result.json``
    figures: :data:`COCO_FIGURES`, fractions, None where COCO defines none (no object of that size)
    per_class: AP of each category by its name, fractions
    confidence_interval: of mask AP, 95 %: percentiles of ``bootstrap``, moved so that their mean is the measured AP
    boundary_figures: :data:`BOUNDARY_FIGURES`, fractions
    overlap_mask_ap: mask AP with each of ``overlap=keep`` and ``highest_score``; one of the two is that of ``figures``
    errors: AP50 that is lost to each of :data:`TIDE_ERRORS`, fractions
    worst_images: by ``missed``, ``false`` and ``masks`` (lowest mean IoU), the worst first, at most 12 each
    seconds: wall time of the pass
    """

    evaluator: str
    evaluator_version: str
    images_evaluated: Count
    images_in_dataset: Count
    detections: Count
    overlap: str
    predictions: str
    figures: dict[str, Fraction | None] | None = None
    figures_absent: str | None = None
    per_class: dict[str, Fraction | None] | None = None
    confidence_interval: Annotated[list[SignedFraction], Items(2)] | None = None
    bootstrap: BootstrapResult | None = None
    boundary_figures: dict[str, Fraction | None] | None = None
    overlap_mask_ap: dict[str, Fraction | None] | None = None
    errors: dict[str, SignedFraction] | None = None
    calibration: Calibration | None = None
    worst_images: dict[str, list[ImageFaults]] | None = None
    seconds: Amount | None = None


@dataclass
class FinetuneResult:
    """The training before the measurement.

    start: what it started from, in words
    reinitialised: parameters that started with random values because they depend on the classes
    dataset_sha256: of the training annotations
    train_images: number of images that have something to learn in them
    curve: every ``log_every`` iterations {"iteration", "learning_rate", "total", <loss>: mean since the last entry}
    evaluations: {"iteration", "mask_ap", "mask_ap50"}, fractions, on the set that is measured
    best_iteration: the one of the best evaluation
    checkpoint: name of the file of weights that is measured afterwards, beside ``result.json``
    seconds: wall time of the training, evaluations included, over all parts of a training that was resumed
    """

    start: str
    iterations: Count
    epochs: Amount
    train_images: Count
    dataset_sha256: str
    reinitialised: list[str] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float | None]] = field(default_factory=list)
    best_iteration: Count | None = None
    checkpoint: str | None = None
    images_per_second: Amount | None = None
    seconds: Amount | None = None


@dataclass
class FlopsResult:
    """The flops pass: floating-point operations of one image at the ``model`` boundary (see :mod:`bench.passes.flops`),
    mean and standard deviation over so many images."""

    mean: Amount
    std: Amount
    images: Count


@dataclass
class EnergyResult:
    """The energy pass: the joules that the GPU used in a window of time, and the images that the model did in it."""

    energy_joules: Amount
    images: Count
    window_seconds: Amount


@dataclass
class Result:
    """What one job measured.

    status: one of :data:`STATUSES`, ``reason`` says why where it is not ``ok``
    config: the resolved :class:`bench.schema.config.BenchConfig`
    choices: the chosen options of its groups
    published: the figures that the library publishes for these weights, with their source
    started: when the newest worker started, UTC, ISO 8601
    seconds: wall time of the job's workers
    contents: digests of the files that were read (data set, weights, files that options name)
    sources: digests of the source files of the model's class and of the modules that it imported from outside the
        installed libraries; a name is relative to the repository, or to the folder that Python found it in
    origin: where these sources come from
    interleaved: equal in two results whose rounds were interleaved, None in others
    """

    status: str
    config: Annotated[dict[str, Any], Like(BenchConfig)]
    reason: str | None = None
    choices: dict[str, str] = field(default_factory=dict)
    published: Annotated[dict[str, Any], Like(PublishedConfig)] = field(default_factory=dict)
    machine: Annotated[dict[str, Any], Like(Machine)] | None = None
    model: ModelInfo | None = None
    finetune: FinetuneResult | None = None
    compiled: CompileResult | None = None
    speed: SpeedResult | None = None
    memory: MemoryResult | None = None
    energy: EnergyResult | None = None
    flops: FlopsResult | None = None
    accuracy: AccuracyResult | None = None
    started: str | None = None
    seconds: Amount | None = None
    notes: list[str] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    origin: Origin | None = None
    interleaved: str | None = None
    measurement_version: Count = 1
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is none of {', '.join(STATUSES)}")

    @property
    def measured(self) -> bool:
        """Whether it holds a figure."""
        return any(getattr(self, name) is not None for name in PASSES)


def write_result(result: Result, path: Path) -> None:
    """Write the result; a reader sees the old file or the new one, never a part of it."""
    json_file.write(result, path)


def read_result(path: Path) -> Result:
    """Read a ``result.json``.

    Raises:
        UserError: the file is absent, is not JSON, is of another schema version, or is no :class:`Result`.
    """
    return parse_result(json_file.read_file(path), str(path))


def parse_result(content: bytes, where: str) -> Result:
    """Parse the bytes of a ``result.json``; ``where`` they are from is for the message of the error.

    Raises:
        UserError: the content is not JSON, is of another schema version, or is no :class:`Result`.
    """
    return json_file.parse(Result, "result.json", content, where, SCHEMA_VERSION)


def read_own_result(path: Path) -> Result:
    """Read a ``result.json`` that this program has just written, by the standard library alone.

    Raises:
        UserError: it cannot be read, or is of another schema version.
    """
    return json_file.parse_own(Result, "result.json", json_file.read_file(path), str(path), SCHEMA_VERSION)


def results_under(folder: Path) -> list[Path]:
    """Give the path of every ``result.json`` under a folder, in the order of the paths, without those set aside."""
    found = sorted(folder.rglob("result.json"))
    return [path for path in found if EARLIER not in path.relative_to(folder).parts[:-1]]
