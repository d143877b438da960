"""The schema of the configuration: a dataclass for every group of ``configs/``.

Imports nothing but the standard library, so that ``run_bench.py --help`` is quick and a worker in another
environment needs neither Hydra nor OmegaConf. ``"???"`` is OmegaConf's mark for a value that must be given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MISSING: Any = "???"

PASSES = ("speed", "memory", "energy", "accuracy")
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
COMPILES = ("none", "default", "reduce-overhead", "max-autotune")
OVERLAPS = ("keep", "highest_score")
EVALUATORS = ("hotcoco", "pycocotools")
DETECTIONS = ("auto", "thresholded", "saturated")
GATE_MODES = ("baseline", "interleaved")
ON_AMBIGUOUS = ("pass", "fail", "remeasure")
STARTS = ("auto", "published", "weights", "partial", "scratch")
OPTIMIZERS = ("adamw", "sgd")
DECAYS = ("step", "cosine", "none")
BATCH_NORMS = ("auto", "train", "frozen")
SCHEDULE_EPOCHS = {"1x": 12, "3x": 36}
WEIGHTS_DTYPES = ("fp32", "fp16")
MEASURED_CHECKPOINTS = ("last", "best")


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
class ExpectedConfig:
    """The mask AP that weights of ours must reach on a dataset, in points, and by how much it may differ."""

    mask_ap: float = MISSING
    tolerance: float = 1.0


@dataclass
class ModelConfig:
    """One model of one library (group ``model/``).

    ``name`` is the option's own name and is filled in by the command. ``weights`` is ``random``, ``zoo``, ``own`` (the
    class brings its own, as a replayed results file does) or a path. ``classes`` names the model's labels in order
    when neither the checkpoint nor the library does. ``expected`` maps a dataset's name to the mask AP that the
    ``weights`` of this config have on it. ``score_threshold`` null means the library's own. ``config`` is
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
    expected: dict[str, ExpectedConfig] = field(default_factory=dict)
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
class TrainSplitConfig:
    """What to fine-tune on: a COCO-format set of its own, or shapes to generate; ``limit`` takes the first N images."""

    images: str | None = None
    annotations: str | None = None
    limit: int | None = None
    shapes: ShapesConfig | None = None


@dataclass
class DatasetConfig:
    """One dataset (group ``dataset/``): COCO-format files, or shapes to generate.

    ``limit`` takes the first N images by id. ``aliases`` maps a category name of the dataset to the class name
    of the model where the two spell one thing differently. ``how_to_get`` is shown when the files are absent.
    ``train`` is what ``finetune=`` trains on; everything else is measured on the set itself.
    """

    name: str = MISSING
    images: str | None = None
    annotations: str | None = None
    limit: int | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    how_to_get: str = ""
    shapes: ShapesConfig | None = None
    train: TrainSplitConfig | None = None


@dataclass
class ProtocolConfig:
    """How to measure (group ``protocol/``).

    rounds: how often the models of a study are timed, in turns, each time in a process of their own, so that a drift of
        the machine falls on all of them alike and shows
    warmup_batches: batches that are gone through untimed, again and again until they take no less time than before,
        or ``max_warmup_seconds`` are over; 0 is no warm-up but the first call
    min_samples, precision, max_seconds: the ``model`` boundary is timed, one sample a batch, until there are so many
        and the 95 % confidence interval of their median reaches no further than this share of it to each side, but no
        longer than ``max_seconds``; the rounds share all three. Each batch is timed end to end and by stages too,
        which takes as long twice more.
    energy_seconds: how long the GPU's energy counter is watched
    threads: of torch on the host; null leaves torch's own choice
    cudnn_benchmark: let cuDNN try its algorithms on every new input size and keep the fastest
    channels_last: keep weights, and so activations, in that memory format
    time_limit_s, memory_limit_gb: bounds of a worker process, the second of its host memory; null is no bound
    """

    rounds: int = 3
    warmup_batches: int = 5
    max_warmup_seconds: float = 10.0
    min_samples: int = 30
    precision: float = 0.01
    max_seconds: float = 60.0
    energy_seconds: float = 10.0
    max_detections: int = 100
    seed: int = 0
    threads: int | None = None
    cudnn_benchmark: bool = False
    channels_last: bool = False
    time_limit_s: float | None = 3600.0
    memory_limit_gb: float | None = None


@dataclass
class FinetuneConfig:
    """How to train a model on ``dataset.train`` before it is measured (group ``finetune/``), alike in every library.

    start: ``published`` (``model.zoo``), ``weights`` (``model.weights``), ``scratch``, or ``auto``: published where the
        model has such weights, else scratch. Layers that depend on the classes start anew where the classes differ.
        ``partial`` takes from ``model.weights``, of whatever model, what fits by name and shape: another's backbone.
    schedule: ``1x`` (12 epochs) or ``3x`` (36); ``iterations`` N overrides it. An iteration is one optimiser step on
        ``batch_size`` x ``accumulate`` images; AMP follows the job's ``precision``.
    learning_rate: null is, for adamw, 1e-4 from weights and 1e-3 from scratch, and for sgd 0.02 for 16 images an
        iteration, in proportion for others (Goyal et al. 2017).
    backbone_lr_factor: learning rate of the backbone over that of the rest; null is 0.1 from weights, 1 from scratch.
    batch_norm: ``frozen`` keeps statistics, scale and shift as loaded; ``auto`` is frozen from weights, else train.
    decay: ``step`` divides by 10 after 2/3 and 11/12 of all iterations (8 and 11 of 12 epochs), ``cosine`` goes to 0.
    clip_norm: bound of the gradient's 2-norm over all parameters; null is none.
    flip: probability of a horizontal flip. scales: the shorter edge is drawn uniformly between these shares of the
        model's own test size; [0.6, 1.0] is 480 to 800 for 800.
    evaluate_every, checkpoint_every: iterations; null is once an epoch, checkpoints every 100 at least.
        evaluate_images: the first N only.
    measure: the checkpoint that is measured afterwards, ``last`` or ``best``. The best is chosen by mask AP on the very
        set that is measured, so its AP flatters.
    weights_dtype: of the matrices in the checkpoints written; the training itself is not touched.
    """

    start: str = "auto"
    schedule: str = "1x"
    iterations: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float | None = None
    weight_decay: float = 0.05
    momentum: float = 0.9
    backbone_lr_factor: float | None = None
    batch_norm: str = "auto"
    warmup_iterations: int = 500
    decay: str = "step"
    clip_norm: float | None = None
    flip: float = 0.5
    scales: list[float] = field(default_factory=lambda: [0.6, 1.0])
    seed: int = 0
    evaluate_every: int | None = None
    evaluate_images: int | None = None
    checkpoint_every: int | None = None
    log_every: int = 20
    measure: str = "last"
    weights_dtype: str = "fp32"
    loader_processes: int = 0
    time_limit_s: float | None = None


@dataclass
class ClaimConfig:
    """What the literature says of two models of a study (option names of ``model/``): ``better`` exceeds ``worse`` in
    ``metric``, there by so many ``points`` (``mask_ap``, ``boundary_ap``) or so many ``times`` (``fps_model``). The
    report says what was measured here of both models, and whether it is as much."""

    claim: str = MISSING
    source: str = MISSING
    better: str = MISSING
    worse: str = MISSING
    metric: str = "mask_ap"
    points: float | None = None
    times: float | None = None


@dataclass
class GateConfig:
    """How a run is held against a baseline (group ``gate/``).

    mode: ``baseline``: against results measured before (``baseline=``); ``interleaved``: base and head measured now, in
        turns, round by round, each in workers of its own, so that a drift of the machine falls on both alike
    thresholds: metric -> how much worse it may become (``-3%``, ``+50``; see ``gate.thresholds``), ``none`` for not
        at all looked at. models: model's option name -> thresholds in place of those, for this model
    alpha: probability of any false difference among all tests of a gate (Holm)
    on_ambiguous: what an ambiguous finding means: ``pass``, ``fail``, or ``remeasure``: more rounds, until there are
        ``max_rounds``, then as ``pass``
    rounds: of the speed pass, a side; null is ``protocol.rounds``
    processes: interleaved: pairs of workers that the rounds are spread over, one pair after the other
    allow: differences between the sides that shall not make them incomparable (names of
        :data:`bench.gate.comparable.ASPECTS`), as ``[driver]``
    base_ref: interleaved: the git commit of the base, checked out beside the working tree
    base_python, head_python: interleaved: two interpreters, each with its own versions of the libraries
    """

    mode: str = "baseline"
    thresholds: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    alpha: float = 0.05
    on_ambiguous: str = "pass"
    rounds: int | None = None
    max_rounds: int = 48
    processes: int = 2
    allow: list[str] = field(default_factory=list)
    base_ref: str | None = None
    base_python: str | None = None
    head_python: str | None = None


@dataclass
class BenchConfig:
    """One job: one model with one setting on one dataset.

    ``detections``: ``saturated`` sets the score threshold to 0, so that even an untrained model gives
    ``max_detections`` instances an image; ``auto``, which a job's result never says, is that for random weights, and
    ``thresholded`` (the model's own threshold) for trained ones.
    ``compile``: the mode of ``torch.compile`` for backbone and neck.
    ``input_size``: "800x1333" scales every image, in whatever library, until its shorter edge has 800 pixels, or its
    longer edge 1333 if that comes first; null is the model's own size.
    ``gate``, ``baseline`` and ``history`` are of the command, not of a job: what the results are held against (a folder
    of results, or the name of a run in the history), and where they are kept.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    finetune: FinetuneConfig | None = None
    study: str = ""
    claims: list[ClaimConfig] = field(default_factory=list)
    gate: GateConfig | None = None
    baseline: str | None = None
    history: str | None = None
    out: str | None = None
    device: str = "auto"
    precision: str = "fp32"
    compile: str = "none"
    batch_size: int = 1
    input_size: str | None = None
    passes: list[str] = field(default_factory=lambda: list(PASSES))
    detections: str = "auto"
    overlap: str = "keep"
    evaluator: str = "hotcoco"

    @property
    def trained(self) -> bool:
        """Whether the model knows anything: an AP of random weights says nothing and stays empty."""
        return self.model.weights != "random" or self.finetune is not None

    @property
    def input_edges(self) -> tuple[int, int] | None:
        """Shorter and longer edge of ``input_size``, in pixels.

        Raises:
            ValueError: it is not two numbers with an x between them.
        """
        if self.input_size is None:
            return None
        shorter, longer = self.input_size.split("x")
        return int(shorter), int(longer)
