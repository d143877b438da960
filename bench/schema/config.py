"""The schema of the configuration: a dataclass for every group of ``configs/``.

This module imports nothing but the standard library, so that ``run_bench.py --help`` is quick, and a worker in another
environment needs neither Hydra nor OmegaConf. ``"???"`` is OmegaConf's mark for a value that must be given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.schema.passes import PASSES

MISSING: Any = "???"

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
COMPILES = ("none", "default", "reduce-overhead", "max-autotune")
ONE_SHAPE_COMPILES = COMPILES[2:]
"""Modes of ``torch.compile`` that record CUDA graphs: a graph holds for one shape of input."""
OVERLAPS = ("keep", "highest_score")
FORMATS = ("coco", "yolo", "lvis")
EVALUATORS = ("hotcoco", "pycocotools")
DETECTIONS = ("auto", "thresholded", "saturated")
EXIFS = ("auto", "apply", "ignore")
ACCURACY_PARTS = ("boundary", "bootstrap", "overlaps", "errors", "calibration", "worst_images")
WITHOUT_MASK = ("drop", "ignore")
GATE_MODES = ("baseline", "interleaved")
EXCLUSIVES = ("machine", "slot")
ON_AMBIGUOUS = ("pass", "fail", "remeasure")
STARTS = ("auto", "published", "weights", "partial", "scratch")
OPTIMIZERS = ("adamw", "sgd")
DECAYS = ("step", "cosine", "none")
BATCH_NORMS = ("auto", "train", "frozen")
SCHEDULE_EPOCHS = {"1x": 12, "3x": 36}
WEIGHTS_DTYPES = ("fp32", "fp16")
MEASURED_CHECKPOINTS = ("last", "best")
LAUNCHERS = ("local", "ray", "slurm")
TRACKERS = ("none", "mlflow", "wandb")
TRACKER_MODES = ("offline", "online")
AUTO = "auto"


@dataclass
class ZooConfig:
    """Where the library publishes the trained weights.

    url: the address of the file
    sha256: its digest, or the first digits, which the zoos write into their file names
    lookup: a function ("module:function") that knows the whole zoo of a library: it takes ``model.config`` and gives a
        :class:`ZooEntry`
    export: for an ONNX file that no maker publishes, the model (a name in ``configs/model``) from whose trained
        weights it is exported
    """

    url: str | None = None
    sha256: str | None = None
    lookup: str | None = None
    export: str | None = None


class ZooEntry(NamedTuple):
    """What a zoo says of one of its configurations.

    ``url`` of the weights and ``mask_ap`` (points, COCO val2017) are None where the zoo publishes none; ``source`` says
    where the figure stands; ``backbone`` is spelled as papers do (R50-FPN).
    """

    family: str
    url: str | None
    mask_ap: float | None
    source: str
    backbone: str


@dataclass
class PublishedSpeedConfig:
    """The speed that is published for a model, and under what conditions. What the source does not say is null.

    fps: images per second; where the source gives a time for one image, its reciprocal
    boundary: what the clock contained: ``model`` or ``network`` as they are here, or other words
    hardware: the GPU, as the source names it (V100)
    runtime: what ran the network (PyTorch, TensorRT 10)
    precision: as ``precision`` here (fp32, fp16)
    input_size: shorter and longer edge in pixels, as ``input_size`` here (800x1333)
    source: where the figure stands, and in which words
    """

    fps: float = MISSING
    source: str = MISSING
    boundary: str | None = None
    hardware: str | None = None
    runtime: str | None = None
    precision: str | None = None
    batch_size: int | None = None
    input_size: str | None = None


@dataclass
class PublishedConfig:
    """The mask AP, in points (37.2), that the library itself publishes for these weights, where, and the speed."""

    mask_ap: float | None = None
    dataset: str = "coco_val2017"
    source: str | None = None
    speed: PublishedSpeedConfig | None = None


@dataclass
class LicenceConfig:
    """Under which licence the library's code and its published weights come, as SPDX identifiers (Apache-2.0).

    weights: null is not known, or there are none
    """

    code: str | None = None
    weights: str | None = None


@dataclass
class ExpectedConfig:
    """The mask AP that weights of ours have on a dataset, and by how much it may differ, both in points."""

    mask_ap: float = MISSING
    tolerance: float = 1.0


@dataclass
class ModelConfig:
    """One model of one library (group ``model/``).

    name: what rows and thresholds call it; "" is the name of the option, or that of the class where the command line
        names the class
    family: as papers write it; "" is the name
    weights: ``random``, ``zoo``, ``own`` (the class brings its own, as a replayed results file does) or a path
    allow_pickle: let the file of weights run its own code while it is read
    exported_from: of a file for a runtime that does not say it itself, the weights that it was exported from, which a
        report sets it against: a file of weights, a row's ``result.json``, or a SHA-256, as which it is stored
    expected: name of a dataset -> the mask AP that ``weights`` have on it
    classes: names of the model's labels in order, where neither the checkpoint nor the library has them
    score_threshold: null is the library's own
    python: another interpreter for the worker; null is this one
    config: a name in the zoo of a library, for adapters that serve one
    options: keywords of the predictor's constructor
    """

    name: str = ""
    family: str = MISSING
    backbone: str = ""
    library: str = MISSING
    _target_: str = MISSING
    weights: str = "random"
    allow_pickle: bool = False
    exported_from: str | None = None
    zoo: ZooConfig = field(default_factory=ZooConfig)
    published: PublishedConfig = field(default_factory=PublishedConfig)
    licence: LicenceConfig = field(default_factory=LicenceConfig)
    expected: dict[str, ExpectedConfig] = field(default_factory=dict)
    classes: list[str] | None = None
    score_threshold: float | None = None
    python: str | None = None
    config: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class ShapesConfig:
    """The generated demo dataset.

    split: any name; every split has images of its own
    count: number of images
    seed: of all that is random in them
    cache: the folder for the files; null is ``$MASKBENCH_CACHE/shapes`` or ``~/.cache/maskbench/shapes``
    """

    split: str = "val"
    count: int = 50
    seed: int = 0
    cache: str | None = None


@dataclass
class TrainSplitConfig:
    """The set that ``finetune=`` trains on: files of the format of the dataset, or shapes to generate.

    annotations: of a YOLO set, null is the ``data.yaml`` of the dataset
    limit: take the first N images by id; null takes all
    split: of a YOLO set, the key of its ``data.yaml``
    """

    images: str | None = None
    annotations: str | None = None
    limit: int | None = None
    shapes: ShapesConfig | None = None
    split: str = "train"


@dataclass
class DatasetConfig:
    """One dataset (group ``dataset/``): COCO-format files, LVIS, a YOLO set, or shapes to generate.

    format: ``coco``; ``lvis``, a COCO file with LVIS's keys, which is evaluated by LVIS's rules; or ``yolo``
    images: the folder of the image files, or its address in a bucket (``s3://bucket/coco/val2017``), from which it is
        copied; of a YOLO set, the folder in the place of ``path:`` of its ``data.yaml``
    annotations: the JSON file, or its address; of a YOLO set its ``data.yaml``
    split: of a YOLO set, the key of its ``data.yaml`` that names the images
    limit: take the first N images by id; null takes all
    max_pixels: most pixels of an image, height x width; a larger one is refused before it is decoded
    max_json_gb: largest annotation or results file, in 10^9 bytes; it takes about ten times that in memory
    allow_outside: let a ``file_name`` be absolute or lead out of the image folder
    exif: ``apply`` turns an image by its EXIF orientation, ``ignore`` leaves the pixels as they are stored, ``auto``
        applies it where only that fits the size in the annotation file, and always in a YOLO set, which has no sizes
    image_range: [darkest, brightest] value of files of more than 8 bits; null is the full range of a 16-bit file
    without_mask: what becomes of an annotation without a mask: ``drop`` leaves it out, ``ignore`` makes it an ignored
        region (neither hit nor miss), null refuses the file
    strict: refuse what would be repaired
    aliases: category name of the dataset -> class name of the model, where the two have different names for one thing
    how_to_get: how to get the files, shown where they are absent
    train: what ``finetune=`` trains on; all figures are measured on the set itself
    """

    name: str = MISSING
    images: str | None = None
    annotations: str | None = None
    limit: int | None = None
    max_pixels: int = 100_000_000
    max_json_gb: float = 2.0
    allow_outside: bool = False
    exif: str = "auto"
    image_range: list[float] | None = None
    without_mask: str | None = None
    strict: bool = False
    aliases: dict[str, str] = field(default_factory=dict)
    how_to_get: str = ""
    shapes: ShapesConfig | None = None
    train: TrainSplitConfig | None = None
    format: str = "coco"
    split: str = "val"


@dataclass
class ProtocolConfig:
    """How to measure (group ``protocol/``).

    rounds: how often every model of a study is timed. Each round times all models, one after the other, each in a
        process of its own, so that a drift of the machine affects all of them alike and can be seen
    warmup_batches: how many batches a warm-up has. It is repeated until it takes no less time than before, or
        ``max_warmup_seconds`` are over; 0 is no warm-up but the first call
    min_samples: least number of samples of the ``model`` boundary, one a batch, in all rounds together
    timed_images: how many images the timing goes round, spread evenly over those of the data set, so that every row is
        timed on the same images, each as often as the others; null is 10 on a CPU and 50 on a GPU
    precision: the timing goes on until the 95 % confidence interval of the median reaches no further than this share of
        the median to each side
    max_seconds: longest time for that, in all rounds together. Each batch is timed end to end and by stages too, which
        takes as long twice more
    energy_seconds: how long the GPU's energy counter is watched
    max_detections: most instances an image that a model gives, and of an image and class that AP counts (COCO: 100)
    threads: of torch on the host; null is torch's own choice
    pin: run the worker on all physical cores but the first, which the other processes of maskbench leave to it; torch
        then has a thread for each, unless ``threads`` says otherwise
    pad_to: pad every input to one shape, a square of the longer edge of ``input_size``, as CUDA graphs need it
    cudnn_benchmark: let cuDNN try its algorithms on every new input size and keep the fastest
    channels_last: keep weights, and so activations, in that memory format
    time_limit_s: longest time of a worker process; null is no limit
    check_limit_s: longest time for which the check before a study constructs a model; null is no limit
    exclusive: what may run beside a timed pass where a command has several slots (``devices``): with ``machine``
        nothing else of the command, on the whole machine; with ``slot`` whatever the other slots do
    memory_limit_gb: most host memory of a worker process with all that it starts; null is no limit. The accuracy pass
        of many images starts up to three processes of its own, 0.2 GB each
    """

    rounds: int = 3
    warmup_batches: int = 5
    max_warmup_seconds: float = 10.0
    min_samples: int = 30
    timed_images: int | None = None
    precision: float = 0.01
    max_seconds: float = 60.0
    energy_seconds: float = 10.0
    max_detections: int = 100
    seed: int = 0
    threads: int | None = None
    pin: bool = False
    pad_to: bool = False
    cudnn_benchmark: bool = False
    channels_last: bool = False
    exclusive: str = "machine"
    time_limit_s: float | None = 3600.0
    check_limit_s: float | None = 300.0
    memory_limit_gb: float | None = None


@dataclass
class AccuracyConfig:
    """What the accuracy pass computes (group key ``accuracy``).

    parts: beside the twelve figures of COCO: ``boundary`` (Boundary AP), ``bootstrap`` (the interval of mask AP, and
        what tests of differences need), ``overlaps`` (mask AP under the other ``overlap`` too), ``errors`` (TIDE),
        ``calibration``, ``worst_images``. A figure whose part is left out is empty
    shards: how many workers predict the images of a row side by side, each a share of the batches, before one more
        worker merges what they found and evaluates it; ``auto`` is as many as slots are idle. null, like 1, is no
        shards: one worker does all. No figure depends on it. Each worker needs the memory of the model, and
        ``protocol.memory_limit_gb`` and ``time_limit_s`` are for each
    """

    parts: list[str] = field(default_factory=lambda: list(ACCURACY_PARTS))
    shards: str | None = None


@dataclass
class FinetuneConfig:
    """How to train a model on ``dataset.train`` before it is measured (group ``finetune/``), alike in every library.

    start: ``published`` (``model.zoo``), ``weights`` (``model.weights``), ``scratch``, or ``auto``: the weights where
        ``model.weights`` is the path of a checkpoint, else published where the model has such weights, else scratch.
        Layers that depend on the classes start with random values where the classes differ. ``partial`` takes from
        ``model.weights``, which may be of another model, every parameter of equal name and shape, such as the backbone.
    schedule: ``1x`` (12 epochs) or ``3x`` (36); ``iterations`` N overrides it. An iteration is one optimiser step on
        ``batch_size`` x ``accumulate`` images; AMP follows the job's ``precision``.
    batch_size: images of one step of the training; the job's own ``batch_size`` is that of the measurement alone.
    learning_rate: null is, for adamw, 1e-4 from weights and 1e-3 from scratch, and for sgd 0.02 for 16 images an
        iteration, in proportion for others (Goyal et al. 2017).
    backbone_lr_factor: learning rate of the backbone over that of the rest; null is 0.1 from weights, 1 from scratch.
    batch_norm: ``frozen`` keeps statistics, scale and shift as loaded; ``auto`` is frozen from weights, else train.
    decay: ``step`` divides by 10 after 2/3 and 11/12 of all iterations (8 and 11 of 12 epochs), ``cosine`` goes to 0.
    clip_norm: bound of the gradient's 2-norm over all parameters; null is none.
    flip: probability of a horizontal flip.
    scales: the shorter edge is drawn uniformly between these shares of the model's own test size; [0.6, 1.0] is 480 to
        800 for 800.
    evaluate_every: iterations between two evaluations, whatever they cost; null is once an epoch, within
        ``evaluate_share``.
    evaluate_share: most of the training's time that evaluations once an epoch may take; those that would take more are
        left out, but for the last. 1 leaves none out.
    evaluate_images: evaluate the first N images only; null is all.
    checkpoint_every: iterations between two checkpoints; null is once an epoch, and every 100 at least.
    measure: the checkpoint that is measured afterwards, ``last`` or ``best``. The best is chosen by mask AP on the very
        set that is measured, so its AP is too high.
    weights_dtype: of the matrices in the files of weights; the training itself does not depend on it.
    loader_processes: processes that load images ahead; 0 loads them in the worker itself.
    time_limit_s: longest time of the training; null is no limit.
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
    evaluate_share: float = 0.1
    evaluate_images: int | None = None
    checkpoint_every: int | None = None
    log_every: int = 20
    measure: str = "last"
    weights_dtype: str = "fp32"
    loader_processes: int = 0
    time_limit_s: float | None = None


@dataclass
class ClaimConfig:
    """What the literature says of two models of a study. The report says what was measured here of both, and whether it
    is as much.

    claim, source: the claim in words, and where it is from
    better, worse: option names of ``model/``; the first exceeds the second in ``metric``
    points: by how much, for ``mask_ap`` and ``boundary_ap``
    times: by what factor, for ``fps_model``
    """

    claim: str = MISSING
    source: str = MISSING
    better: str = MISSING
    worse: str = MISSING
    metric: str = "mask_ap"
    points: float | None = None
    times: float | None = None


@dataclass
class GateConfig:
    """How a run is compared with a baseline (group ``gate/``).

    mode: ``baseline`` compares with results measured before (``baseline=``). ``interleaved`` measures base and head
        now, their rounds interleaved, each in workers of its own, so that a drift of the machine affects both alike
    thresholds: metric -> how much worse it may become (``-3%``, ``+50``; see :mod:`bench.gate.thresholds`); ``none``
        leaves the metric out
    models: name of a model, as its rows have it -> thresholds for this model in place of those
    alpha: probability of any false difference among all tests of a gate (Holm)
    on_ambiguous: what an ambiguous finding means: ``pass``, ``fail``, or ``remeasure``, which adds rounds until there
        are ``max_rounds`` and then means ``pass``
    rounds: of the speed pass, on each side; null is ``protocol.rounds``
    processes: with ``interleaved``, number of pairs of workers, one after the other, that share the rounds
    allow: differences between the sides that leave them comparable (names of
        :data:`bench.schema.settings.SETTINGS` that a gate holds equal), as ``[driver]``; or ``fewer_rows``, which lets
        the head lack rows of the base
    base_ref: with ``interleaved``, the git commit of the base, checked out beside the working tree
    base_python, head_python: with ``interleaved``, two interpreters, each with its own versions of the libraries
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
class LauncherConfig:
    """Where the jobs of a command run (group ``launcher/``); the options of one place are refused for another.

    name: ``local`` is this machine, ``ray`` a Ray cluster, ``slurm`` a Slurm cluster with which ``out=`` is shared
    address: of Ray. ``auto`` is ``RAY_ADDRESS``, or the cluster that this machine is in, or a new one here; ``local``
        a new one here; ``HOST:PORT`` that one
    gpu: of Ray: the kind of GPU, as its ``accelerator_type`` names it; null is any
    data: of Ray: where nodes have what lies in a folder here, as ``/here/coco:/there/coco``
    partition: of Slurm; null is the default of the cluster
    gpus_per_node: of Slurm; null is one where ``device`` is a GPU
    cpus_per_task: with Ray, CPUs of a job that times nothing on a CPU, null is 4; with Slurm, those of every job, null
        is the default of the cluster
    time_min: of Slurm: the time limit of a job, in minutes; null is the default of the partition
    """

    name: str = "local"
    address: str | None = None
    gpu: str | None = None
    data: list[str] = field(default_factory=list)
    partition: str | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    time_min: int | None = None


@dataclass
class TrackerConfig:
    """Where the figures of a command are logged once its report is written (group ``tracker/``).

    No key holds a secret: MLflow and wandb read theirs from the environment. A tracker that fails changes no exit
    status.

    name: ``none``, ``mlflow`` or ``wandb``, each installed by its own name
    run: what the study is called there; null is the name of the folder ``out``
    uri: of MLflow: its server or store, as ``http://HOST:5000`` or ``sqlite:///mlflow.db``; null is
        ``MLFLOW_TRACKING_URI``, or MLflow's own default
    experiment: of MLflow
    project, entity: of wandb; a null entity is the user's default
    mode: of wandb: ``offline`` writes files below ``out``, which ``wandb sync`` sends later, ``online`` sends at once
    predictions: whether the predictions of each row are kept there, which are large
    """

    name: str = "none"
    run: str | None = None
    uri: str | None = None
    experiment: str = "maskbench"
    project: str = "maskbench"
    entity: str | None = None
    mode: str = "offline"
    predictions: bool = True


@dataclass
class BenchConfig:
    """One job: one model with one setting on one dataset.

    launcher: of the command: where its jobs run
    tracker: of the command: where its figures are logged
    gate, baseline, history: settings of the command and not of a job: how the results are compared, with what (a folder
        of results, or the name of a run in the history), and the history that they are appended to
    out: the folder of the results
    wait: of the command: where another command writes into ``out``, wait for its end; false refuses this one instead
    device: ``cpu``, ``cuda:0``, ...; ``auto`` is ``cuda:0`` where there is one
    devices: of the command: the slots that it runs jobs on side by side, ``all`` GPUs, ``cuda:0,cuda:2``, or sets of
        cores ``cpu:0-7,cpu:8-15``; null is one slot, ``device`` with the whole machine. A row's ``device`` is then the
        kind alone, ``cuda:0`` or ``cpu``, whichever slot it ran on
    compile: the mode of ``torch.compile`` for backbone and neck
    input_size: "800x1333" scales every image, in every library, until its shorter edge has 800 pixels, or its longer
        edge 1333 where that comes first; null is the model's own size
    detections: ``saturated`` sets the score threshold to 0, so that even an untrained model gives ``max_detections``
        instances an image. ``thresholded`` is the model's own threshold. ``auto`` is the first for random weights and
        the second for trained ones; a job's result names one of the two
    overlap: ``keep``, or ``highest_score``: each pixel goes to the mask of the highest score
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    accuracy: AccuracyConfig = field(default_factory=AccuracyConfig)
    finetune: FinetuneConfig | None = None
    study: str = ""
    claims: list[ClaimConfig] = field(default_factory=list)
    gate: GateConfig | None = None
    baseline: str | None = None
    history: str | None = None
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    out: str | None = None
    wait: bool = True
    device: str = "auto"
    devices: list[str] | None = None
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
        """Whether the weights are trained; the AP of random weights means nothing and stays empty."""
        return self.model.weights != "random" or self.finetune is not None

    @property
    def score_threshold(self) -> float | None:
        """The score threshold that the model is told; None is the library's own."""
        return 0.0 if self.detections == "saturated" else self.model.score_threshold

    @property
    def input_edges(self) -> tuple[int, int] | None:
        """Shorter and longer edge of ``input_size``, in pixels.

        Raises:
            ValueError: ``input_size`` is not two numbers with an x between them.
        """
        if self.input_size is None:
            return None
        shorter, longer = self.input_size.split("x")
        return int(shorter), int(longer)
