"""``result.json``: what one job measured. It is read and written only here.

The names of the fields end in their units. What was not measured is None (``null``), never 0. Raw samples are kept;
every reader derives its summaries from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bench.schema import json_file

SCHEMA_VERSION = 2

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
    parameters: int | None = None


@dataclass
class Timing:
    """Raw latencies of one boundary or stage, one for each batch, in the order in which they were measured.

    clock: ``perf_counter`` (the host's, synchronised before and after) or ``cuda_event``
    wall_ms: on a GPU the time of the same batches by the host's clock; None where ``clock`` is the host's
    """

    latency_ms: list[float]
    clock: str
    wall_ms: list[float] | None = None


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
    seconds: float
    graphs: int
    graph_breaks: int


@dataclass
class GpuReadings:
    """Readings of the GPU during one round, at most ten a second; None in a list stands for a refused value.

    throttled: reason (:data:`bench.device.gpu.THROTTLE_REASONS`) -> in how many readings it throttled the GPU
    dropped_batches: how many batches were left out of the samples because the GPU was throttled
    kept_throttled: throttled batches were kept, since more than half would have been left out or the rounds are
        interleaved
    """

    sm_clock_mhz: list[int | None]
    memory_clock_mhz: list[int | None]
    temperature_celsius: list[int | None]
    power_watts: list[float | None]
    throttled: dict[str, int]
    dropped_batches: int
    kept_throttled: bool


@dataclass
class SpeedRound:
    """The part of the speed pass that one process measured.

    samples: how many of the timed batches are its own
    first_call_ms: latency of the very first batch, compilation and the choice of algorithms included
    warmup_ms: latencies of the warm-up, batch by batch
    warmup_stable: whether the warm-up ended because they no longer fell
    """

    samples: int
    first_call_ms: float
    warmup_ms: list[float]
    warmup_stable: bool
    started: str | None = None
    gpu: GpuReadings | None = None


@dataclass
class SpeedResult:
    """The speed pass. The samples of all rounds stand one behind the other.

    model, end_to_end: timings of these boundaries, each timed as a whole
    preprocess, network, postprocess: timings of the stages, in calls of their own; ``network`` is a boundary too
    detections_per_image: of the images of the ``model`` boundary
    image_sizes: [height, width] of the same images, in pixels
    input_sizes: [height, width] of each batch of the ``model`` boundary, in pixels, with the padding
    """

    batch_size: int
    rounds: list[SpeedRound]
    model: Timing
    end_to_end: Timing
    preprocess: Timing
    network: Timing
    postprocess: Timing
    detections_per_image: list[int]
    image_sizes: list[list[int]]
    input_sizes: list[list[int]]


@dataclass
class MemoryResult:
    """The memory pass: five figures, in bytes.

    parameters_bytes, buffers_bytes: None for a runtime that has no module of torch's
    device_source: how ``process_device_bytes`` was read: ``nvml_process``, or ``device_difference`` (the growth of the
        whole GPU) where NVML cannot see the process, as in a container
    host_rss_source: what ``host_rss_bytes`` is: ``resettable_peak``, the peak of this pass, or ``process_peak``
    """

    parameters_bytes: int | None
    buffers_bytes: int | None
    peak_allocated_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    process_device_bytes: int | None = None
    device_source: str | None = None
    host_rss_bytes: int | None = None
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
class BootstrapResult:
    """AP of resampled sets of images, fractions. Each set is drawn with replacement and has as many images.

    Replicate r is the same draw for every model on the same images (equal ``images_sha256``, ``seed`` and length), so
    that the difference of two models' lists is a paired bootstrap.
    """

    seed: int
    images_sha256: str
    mask_ap: list[float]
    boundary_ap: list[float] | None = None


@dataclass
class Calibration:
    """How far the scores are from the share of true positives at IoU 0.5, in bins of the score.

    expected_error: expected calibration error (Naeini et al. 2015)
    edges: of the bins
    mean_score, precision: in each bin, the mean score and the share of true positives; None in an empty bin
    detections: their number in each bin
    """

    expected_error: float
    edges: list[float]
    mean_score: list[float | None]
    precision: list[float | None]
    detections: list[int]


@dataclass
class ImageFaults:
    """What a model got wrong in one image, at IoU 0.5 and score 0.3.

    missed: number of objects that no detection matches
    false: number of false detections
    mean_iou: mean mask IoU of the true positives, None where there is none
    """

    image_id: int
    missed: int
    false: int
    mean_iou: float | None


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
    images_evaluated: int
    images_in_dataset: int
    detections: int
    overlap: str
    predictions: str
    figures: dict[str, float | None] | None = None
    figures_absent: str | None = None
    per_class: dict[str, float | None] | None = None
    confidence_interval: list[float] | None = None
    bootstrap: BootstrapResult | None = None
    boundary_figures: dict[str, float | None] | None = None
    overlap_mask_ap: dict[str, float | None] | None = None
    errors: dict[str, float] | None = None
    calibration: Calibration | None = None
    worst_images: dict[str, list[ImageFaults]] | None = None
    seconds: float | None = None


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
    iterations: int
    epochs: float
    train_images: int
    dataset_sha256: str
    reinitialised: list[str] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float | None]] = field(default_factory=list)
    best_iteration: int | None = None
    checkpoint: str | None = None
    images_per_second: float | None = None
    seconds: float | None = None


@dataclass
class FlopsResult:
    """The flops pass: floating-point operations of one image at the ``model`` boundary (see :mod:`bench.passes.flops`),
    mean and standard deviation over so many images."""

    mean: float
    std: float
    images: int


@dataclass
class EnergyResult:
    """The energy pass: the joules that the GPU used in a window of time, and the images that the model did in it."""

    energy_joules: float
    images: int
    window_seconds: float


@dataclass(frozen=True)
class PassFacts:
    """What is known of a pass without importing it.

    own_process: it has a worker process of its own, in which nothing else runs. It times nothing: the job's next worker
        imports its libraries at the same time
    in_rounds: it goes on round after round; its part of the Result has a list ``rounds``
    """

    own_process: bool
    in_rounds: bool


def _pass(*, own_process: bool = False, in_rounds: bool = False) -> dict[str, PassFacts]:
    """Marks a field of :class:`Result` as one that the pass of its name fills; see :data:`PASSES`."""
    return {"pass": PassFacts(own_process, in_rounds)}


@dataclass
class Result:
    """What one job measured.

    status: one of :data:`STATUSES`, ``reason`` says why where it is not ``ok``
    config: the resolved :class:`bench.schema.config.BenchConfig`
    choices: the chosen options of its groups
    published: the figures that the library publishes for these weights, with their source
    started: when the newest worker started, UTC, ISO 8601
    seconds: wall time of the job's workers
    contents: digests of the files that were read (data set, weights)
    interleaved: equal in two results whose rounds were interleaved, None in others
    """

    status: str
    config: dict[str, Any]
    reason: str | None = None
    choices: dict[str, str] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] | None = None
    model: ModelInfo | None = None
    finetune: FinetuneResult | None = None
    compiled: CompileResult | None = None
    speed: SpeedResult | None = field(default=None, metadata=_pass(in_rounds=True))
    memory: MemoryResult | None = field(default=None, metadata=_pass(own_process=True))
    energy: EnergyResult | None = field(default=None, metadata=_pass())
    flops: FlopsResult | None = field(default=None, metadata=_pass())
    accuracy: AccuracyResult | None = field(default=None, metadata=_pass())
    started: str | None = None
    seconds: float | None = None
    notes: list[str] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)
    interleaved: str | None = None
    measurement_version: int = 1
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is none of {', '.join(STATUSES)}")


PASSES: dict[str, PassFacts] = {f.name: f.metadata["pass"] for f in fields(Result) if "pass" in f.metadata}
"""Every pass by its name, which is that of its part of a Result, in the order in which a worker runs them."""


def write_result(result: Result, path: Path) -> None:
    """Write the result; a reader sees the old file or the new one, never a part of it."""
    json_file.write(result, path)


def read_result(path: Path) -> Result:
    """Read a ``result.json``.

    Raises:
        UserError: the file is absent, is not JSON, is of another schema version, or lacks a field.
    """
    return parse_result(json_file.read_file(path), str(path))


def parse_result(content: bytes, where: str) -> Result:
    """Parse the bytes of a ``result.json``; ``where`` they are from is for the message of the error.

    Raises:
        UserError: the content is not JSON, is of another schema version, or lacks a field.
    """
    return json_file.parse(Result, "result.json", content, where, SCHEMA_VERSION)
