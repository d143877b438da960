"""The schema of the configuration: a dataclass for every group of ``configs/``.

Imports nothing but the standard library, so that ``run_bench.py --help`` is quick and a worker in another
environment needs neither Hydra nor OmegaConf. ``"???"`` is OmegaConf's mark for a value that must be given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MISSING: Any = "???"

PASSES = ("speed", "memory", "accuracy")
PRECISIONS = ("fp32", "fp16", "bf16")
OVERLAPS = ("keep", "highest_score")
EVALUATORS = ("hotcoco", "pycocotools")
DETECTIONS = ("thresholded", "saturated")


@dataclass
class ZooConfig:
    """Where the library publishes the trained weights.

    ``sha256`` may be the first digits only, as the zoos spell it into their file names. ``lookup`` is a function
    ("module:function") that knows a library's whole zoo: ``model.config`` -> (family, weights' URL, published mask AP,
    its source, backbone).
    """

    url: str | None = None
    sha256: str | None = None
    lookup: str | None = None


@dataclass
class PublishedConfig:
    """What the library itself publishes for these weights: mask AP in points (37.2) and where it says so."""

    mask_ap: float | None = None
    dataset: str = "coco_val2017"
    source: str | None = None


@dataclass
class ModelConfig:
    """One model of one library (group ``model/``).

    ``name`` is the option's own name and is filled in by the command. ``weights`` is ``random``, ``zoo``, ``own`` (the
    class brings its own, as a replayed results file does) or a path. ``classes`` names the model's labels in order
    when neither the checkpoint nor the library does. ``score_threshold`` null means the library's own. ``config`` is
    the name inside a library's zoo, for ``mmdet_zoo`` and ``detectron2_zoo``. ``options`` go to the predictor's
    constructor as keywords. ``python`` is another interpreter to run the worker with.
    """

    name: str = ""
    family: str = MISSING
    backbone: str = ""
    library: str = MISSING
    _target_: str = MISSING
    weights: str = "random"
    allow_pickle: bool = False
    zoo: ZooConfig = field(default_factory=ZooConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)
    classes: list[str] | None = None
    score_threshold: float | None = None
    python: str | None = None
    config: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class ShapesConfig:
    """The generated demo dataset: how many images of which split, from which seed, kept where.

    ``cache`` null means ``$MASKBENCH_CACHE/shapes`` or ``~/.cache/maskbench/shapes``.
    """

    split: str = "val"
    count: int = 50
    seed: int = 0
    cache: str | None = None


@dataclass
class DatasetConfig:
    """One dataset (group ``dataset/``): COCO-format files, or shapes to generate.

    ``limit`` takes the first N images by id. ``aliases`` maps a category name of the dataset to the class name
    of the model where the two spell one thing differently. ``how_to_get`` is shown when the files are absent.
    """

    name: str = MISSING
    images: str | None = None
    annotations: str | None = None
    limit: int | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    how_to_get: str = ""
    shapes: ShapesConfig | None = None


@dataclass
class ProtocolConfig:
    """How to measure (group ``protocol/``).

    The ``model`` boundary is timed for at least ``min_images`` images and ``min_seconds``, but no longer than
    ``max_seconds``; each of its batches is timed end to end and by stages too, which takes as long twice more.
    ``time_limit_s`` and ``memory_limit_gb`` (host memory of the worker) bound a whole job; null is no bound.
    ``threads`` null leaves torch's own choice.
    """

    warmup_batches: int = 5
    min_images: int = 30
    min_seconds: float = 3.0
    max_seconds: float = 60.0
    max_detections: int = 100
    seed: int = 0
    threads: int | None = None
    time_limit_s: float | None = 3600.0
    memory_limit_gb: float | None = None


@dataclass
class BenchConfig:
    """One job: one model with one setting on one dataset."""

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    study: str = ""
    out: str | None = None
    device: str = "auto"
    precision: str = "fp32"
    batch_size: int = 1
    passes: list[str] = field(default_factory=lambda: list(PASSES))
    detections: str = "thresholded"
    overlap: str = "keep"
    evaluator: str = "hotcoco"
