"""``result.json``: what one job measured. Its schema lives here and is read and written only here.

Units stand in the names of the fields. What was not measured is None (``null``), never 0. Raw samples are kept and
every summary is derived from them by the reader.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.schema import json_file

SCHEMA_VERSION = 1

MEASUREMENT_VERSION = 2
"""Raised when the way of measuring changes, so that figures of before and after are not compared: what a timing
contains, how memory is read, which images are evaluated.

1: results from before there was such a number. 2: memory in a process of its own, whose heap does not adapt.
"""

STATUSES = ("ok", "failed", "out_of_memory", "timeout", "crashed", "skipped")

UNFINISHED = "unfinished"
INTERRUPTED = "interrupted"
"""Reasons of a job that is still running, or died unheard; and of one that was stopped by the user."""

FINETUNED = "fine-tuned"
"""``ModelInfo.weights`` of a model that the job has trained itself."""

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

    ``flops_mean`` and ``flops_std`` are those of one image (see :mod:`bench.passes.flops`). ``weights`` is ``random``,
    ``zoo``, :data:`FINETUNED` or the path given; ``weights_sha256`` of the file read.
    """

    classes: list[str]
    weights: str
    weights_sha256: str | None = None
    parameters: int | None = None
    flops_mean: float | None = None
    flops_std: float | None = None


@dataclass
class Timing:
    """Raw latencies of one boundary or stage, one per batch, in the order measured.

    clock: ``perf_counter`` (host, synchronised on both sides) or ``cuda_event``.
    wall_ms: on a GPU the host's own clock for the same batches; None where ``clock`` is the host's.
    """

    latency_ms: list[float]
    clock: str
    wall_ms: list[float] | None = None


@dataclass
class CompileResult:
    """``torch.compile`` in the newest worker: which parts of the network, the seconds it took, into how many graphs
    (new input shapes may make new ones), and how often it had to leave one."""

    mode: str
    parts: list[str]
    seconds: float
    graphs: int
    graph_breaks: int


@dataclass
class GpuReadings:
    """The GPU during one round, reading by reading, at most ten a second; None in a list where it refused one.

    throttled: reason (:data:`bench.device.gpu.THROTTLE_REASONS`) -> in how many readings it held the clocks down
    dropped_batches: those timed while it was throttled, which are left out of the samples
    kept_throttled: all are in nevertheless: more than half would have been left out, or rounds were taken in turns
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
    """One process's part of the speed pass.

    samples: how many of the batches timed are its own
    first_call_ms: the very first batch, compilation and the choice of algorithms included
    warmup_ms: latencies of the warm-up, batch by batch; warmup_stable: whether it ended because they no longer fell
    """

    samples: int
    first_call_ms: float
    warmup_ms: list[float]
    warmup_stable: bool
    started: str | None = None
    gpu: GpuReadings | None = None


@dataclass
class SpeedResult:
    """The speed pass. ``model`` and ``end_to_end`` are timed whole; the stages ``preprocess``, ``network`` (also a
    boundary of its own) and ``postprocess`` in calls of their own. detections_per_image, image_sizes (one per
    image) and input_sizes (one per batch, padded) are those of the ``model`` boundary; sizes are [height, width].
    The samples of all rounds stand one behind the other.
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
    """The five figures. Parameters and buffers are None for a runtime that has no module of torch's.

    ``device_source`` says how ``process_device_bytes`` was read: ``nvml_process``, or
    ``device_difference`` (the whole GPU's growth) where NVML cannot see the process, as in a container.
    ``host_rss_source`` says what ``host_rss_bytes`` is: ``resettable_peak`` or ``process_peak``."""

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
"""Boundary AP (Cheng et al. 2021), named as the mask figures, as fractions."""

TIDE_ERRORS = ("classification", "localization", "both", "duplicate", "background", "missed")
"""The six error types of TIDE (Bolya et al. 2020)."""


@dataclass
class BootstrapResult:
    """AP of resampled sets of images (drawn with replacement, as many as there are), fractions.

    Replicate r of every model on the same images (equal ``images_sha256``, ``seed`` and length) holds the same draw,
    so that the difference of two models' lists is a paired bootstrap.
    """

    seed: int
    images_sha256: str
    mask_ap: list[float]
    boundary_ap: list[float] | None = None


@dataclass
class Calibration:
    """How far scores are from the share of true positives at IoU 0.5: expected calibration error (Naeini et al. 2015),
    its bins' edges, and in each bin the mean score, the share of true positives and the number of detections."""

    expected_error: float
    edges: list[float]
    mean_score: list[float | None]
    precision: list[float | None]
    detections: list[int]


@dataclass
class ImageFaults:
    """What a model got wrong in one image, at IoU 0.5 and score 0.3: things missed, false detections, and the mean mask
    IoU of the true positives (None without any)."""

    image_id: int
    missed: int
    false: int
    mean_iou: float | None


@dataclass
class AccuracyResult:
    """The accuracy pass. ``figures`` maps :data:`COCO_FIGURES` to fractions, None where COCO defines none (no
    ground truth of that size); it is None as a whole for random weights, with the cause in ``figures_absent``.
    ``predictions`` is the results file's name, beside ``result.json``. The same absence holds for all that follows it:

    confidence_interval: of mask AP, 95 %, percentiles of ``bootstrap`` moved so that their mean is the measured AP
    boundary_figures: :data:`BOUNDARY_FIGURES`
    overlap_mask_ap: mask AP under each of ``keep`` and ``highest_score``; the first figure again for one of them
    errors: AP50 that is lost to each of :data:`TIDE_ERRORS`, fractions
    worst_images: by ``missed``, ``false`` and ``masks`` (lowest mean IoU), the worst first, at most 12 each
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

    start: what it began from, in words; reinitialised: parameters that began anew because they depend on the classes
    dataset_sha256: of the training annotations; train_images: images with something to learn in them
    curve: every ``log_every`` iterations {"iteration", "learning_rate", "total", <loss>: mean since the last entry}
    evaluations: {"iteration", "mask_ap", "mask_ap50"}, fractions, on the set that is measured
    checkpoint: file name beside ``result.json`` of the weights that were measured then, the best of the evaluations
    seconds: of training, evaluations included, over all sessions of a training that was resumed
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
class EnergyResult:
    """The energy pass: joules of the GPU over a window and the images of the ``model`` boundary inside it."""

    energy_joules: float
    images: int
    window_seconds: float


@dataclass
class Result:
    """One job. ``config`` is the resolved :class:`BenchConfig`, ``choices`` the chosen group options,
    ``published`` the figures of the model's config with their source, ``seconds`` the wall time of its workers.
    ``contents`` are digests of the files that were read (data set, weights); ``interleaved`` is equal in two results
    whose speed was measured in turns, round by round."""

    status: str
    config: dict[str, Any]
    reason: str | None = None
    choices: dict[str, str] = field(default_factory=dict)
    published: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] | None = None
    model: ModelInfo | None = None
    finetune: FinetuneResult | None = None
    compiled: CompileResult | None = None
    speed: SpeedResult | None = None
    memory: MemoryResult | None = None
    energy: EnergyResult | None = None
    accuracy: AccuracyResult | None = None
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


def write_result(result: Result, path: Path) -> None:
    """Write atomically: a reader sees the old file or the new one, never a part."""
    json_file.write(result, path)


def read_result(path: Path, *, of_any_version: bool = False) -> Result:
    """Read a ``result.json``.

    of_any_version: leave out keys that this maskbench does not know, as the worker of an older commit must where a
        newer one has begun the file.

    Raises:
        UserError: the file is absent, not JSON, of another schema version, or lacks a field.
    """
    return parse_result(json_file.read_file(path), str(path), of_any_version=of_any_version)


def parse_result(content: bytes, where: str, *, of_any_version: bool = False) -> Result:
    """The result in the bytes of a ``result.json``; ``where`` they are from is for the error.

    Raises:
        UserError: not JSON, of another schema version, or a field is missing.
    """
    return json_file.parse(Result, "result.json", content, where, SCHEMA_VERSION, ignore_unknown=of_any_version)
