"""The table of settings: each setting of a job stands here once; labels, comparability, names and exports read it.

A setting is a key of the configuration, or a fact that a figure depends on and the configuration does not hold: the
machine, a file's content, the clock. This module needs the standard library alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.files.plain import as_dict
from bench.schema.config import BenchConfig
from bench.schema.facts import (
    TIMING_KEYS,
    Value,
    config,
    dataset_content,
    dataset_name,
    device_kind,
    files_content,
    machine,
    max_detections,
    runtime,
    timing_protocol,
    untrained,
    weights_content,
    weights_name,
)
from bench.schema.result import PASSES, Result
from bench.schema.words import Said, differing, flat, if_so, said, short_target

SEPARATOR = " · "
"""Stands between the parts of a label."""

COCO_DETECTIONS = 100
"""The limit of detections of an image and class by COCO's rules, which no title or label needs to say."""

GATE, REPORT, SERIES = "gate", "report", "series"
"""Who compares: a gate compares one model at two times, a report different models, a series one model over runs."""

_LVIS_RULES = (
    "mask AP by the rules of LVIS: a detection counts where somebody looked for its category in the image, and the "
    "limit of detections is of all categories together"
)

_ALL = (GATE, REPORT, SERIES)
_PARTS = (*PASSES, "model")
_USED = ("speed", "busy", "memory", "energy")
_TIMED = ("speed", "busy", "energy")

_COMPILED = said("compile {}", unsaid="none")


def _beside(exclusive: Any) -> str:
    return "timed with protocol.exclusive=slot" if exclusive == "slot" else ""


NO_FIGURE = frozenset(
    (
        *("out", "passes", "accuracy", "study", "claims", "gate", "baseline", "history", "wait", "devices", "launcher"),
        "tracker",
        *("protocol.rounds", "protocol.time_limit_s", "protocol.check_limit_s", "protocol.memory_limit_gb"),
        *("dataset.max_pixels", "dataset.max_json_gb", "dataset.allow_outside", "dataset.strict"),
        *("finetune.time_limit_s", "finetune.loader_processes", "model.licence"),
    )
)
"""Keys of the configuration that change no figure: a job with other values of them is the same job. More rounds are
added to those that were timed."""


@dataclass(frozen=True)
class Setting:
    """One setting.

    key: its name in tables, exports and ``gate.allow``
    title: the head of its column
    words: its name in a sentence
    value: reads from a result what tables show
    config: the dotted keys of :class:`BenchConfig` that it stands for
    held: who holds it equal (GATE, REPORT, SERIES) and does not compare results that differ in it
    parts: the parts of a result that are then not compared
    compared: reads from a result what must be equal, where that is not ``value``
    paired: reads from a result what a gate pairs the rows of one model by; None for a setting that plays no part in it
    label: makes the text of a label, "" for none; None where labels do not show it. Of a mapping, labels show the
        entries that differ, whatever ``label`` is
    line: makes a line of the conditions under a table, "" for none; None where they do not show it
    spelled: makes the text in a job's folder name and progress line; None where only the folder's digest holds it
    definition, unit, decimals: of its column; a setting without a definition has no column
    short: the head of its column in a terminal
    names: whether it is part of every row's name, whether or not rows differ in it
    in_titles: whether it says what a figure means, so that the titles of figures say it where all rows share it, and
        the label of every row where they do not; Markdown then has no column of it
    """

    key: str
    title: str
    words: str
    value: Value
    config: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    parts: Sequence[str] = _PARTS
    compared: Value | None = None
    paired: Value | None = None
    label: Said | None = None
    line: Said | None = None
    spelled: Said | None = None
    definition: str = ""
    unit: str = ""
    decimals: int | None = None
    short: str = ""
    names: bool = False
    in_titles: bool = False

    def equal(self, result: Result) -> Any:
        """Give what must be equal in two results that are compared."""
        return (self.compared or self.value)(result)

    def labels(self, results: Sequence[Result]) -> list[str]:
        """Give, for results whose labels are equal so far, the text that each label gets; "" for none."""
        values = [self.value(result) for result in results]
        if any(isinstance(value, Mapping) for value in values):
            return differing([flat(value) for value in values])
        return ["" if self.label is None else self.label(value) for value in values]


def labelled() -> Iterator[Setting]:
    """Give the settings that labels show where rows differ in them, in the order of a label."""
    return (setting for setting in SETTINGS.values() if setting.label is not None)


def held_equal(by: str) -> Iterator[Setting]:
    """Give the settings that a gate, a report or a series holds equal."""
    return (setting for setting in SETTINGS.values() if by in setting.held)


def tabled() -> Iterator[Setting]:
    """Give the settings that are columns of a table."""
    return (setting for setting in SETTINGS.values() if setting.definition)


def telling() -> Iterator[Setting]:
    """Give the settings whose columns tell rows of one model apart."""
    return (setting for setting in tabled() if setting.label is not None)


def lines(result: Result, *but: str) -> list[str]:
    """Give a result's lines in the conditions under a table, without those of the settings named in ``but``."""
    shown = (setting for setting in SETTINGS.values() if setting.key not in but)
    return [text for setting in shown if setting.line and (text := setting.line(setting.value(result)))]


def describe(config: BenchConfig, separator: str = " ") -> str:
    """Give the settings of a job in one line, ``cuda:0 fp32 b4 800x1333``, without its model and data set."""
    planned = Result("skipped", as_dict(config))
    texts = (setting.spelled(setting.value(planned)) for setting in SETTINGS.values() if setting.spelled)
    return separator.join(text for text in texts if text)


def described(configs: Sequence[BenchConfig]) -> list[str]:
    """Give what :func:`describe` gives of each job, and for jobs of one model that it gives alike, what else differs.

    So no two rows of a sweep over an option are called the same in a line of progress: ``cpu fp32 b1 · top_k=100``.
    """
    texts = [describe(config) for config in configs]
    planned = [Result("skipped", as_dict(config)) for config in configs]
    alike = _alike(range(len(configs)), [(config.model.name, texts[n]) for n, config in enumerate(configs)])
    for setting in labelled():
        still_alike: list[list[int]] = []
        for numbers in alike:
            labels = setting.labels([planned[number] for number in numbers])
            if len(set(labels)) > 1:
                for number, label in zip(numbers, labels, strict=True):
                    texts[number] += SEPARATOR + label if label else ""
            still_alike += _alike(numbers, labels)
        alike = still_alike
    return texts


def _alike(numbers: Iterable[int], keys: Sequence[Hashable]) -> list[list[int]]:
    """Group the numbers whose keys, given in the same order, another one of them has too."""
    groups: dict[Hashable, list[int]] = {}
    for number, key in zip(numbers, keys, strict=True):
        groups.setdefault(key, []).append(number)
    return [group for group in groups.values() if len(group) > 1]


def _key(path: str, title: str, words: str, *, paired: bool = False, **rest: Any) -> Setting:
    """Make the setting of one key of the configuration, given by its dotted path."""
    value, name = config(*path.split(".")), path.rpartition(".")[2]
    return Setting(name, title, words, value, (path,), paired=value if paired else None, **rest)


def _keys(group: str, names: str) -> tuple[str, ...]:
    return tuple(f"{group}.{name}" for name in names.split())


# fmt: off
_TABLE = (
    Setting(
        "model", "Model", "model", config("model", "family"), ("model.family",), names=True, short="Model",
        definition="family of the model, as papers write it"
    ),
    _key("model.backbone", "Backbone", "backbone", names=True, definition="feature extractor of the model"),
    _key("model.library", "Library", "library", names=True, short="Library",
        definition="library that the model was run with"),
    Setting(
        "measurement", "Measuring", "version of the way of measuring", lambda result: result.measurement_version,
        held=(GATE,)
    ),
    Setting(
        "weights", "Weights", "weights", weights_name, ("model.weights",), held=(GATE,), compared=weights_content,
        definition="random (untrained, seeded), zoo (published by the library) or the file given"
    ),
    Setting(
        "dataset", "Dataset", "data set", dataset_name,
        _keys("dataset", "name images annotations limit aliases how_to_get shapes train split"),
        held=_ALL, compared=dataset_content, paired=config("dataset", "name"), label=said(), line=said(),
        definition="images that the row was measured on", short="Dataset"
    ),
    Setting(
        "device", "Device", "device", config("device"), ("device",), held=_ALL, parts=_USED, compared=device_kind,
        paired=device_kind, label=said(), line=said(), spelled=said(),
        definition="device that the network ran on", short="Device"
    ),
    Setting(
        "runtime", "Runtime", "runtime", runtime, held=(GATE, SERIES), parts=_USED, label=said(),
        definition="runtime that ran a network that is no torch module, and the part of it that really computed; empty "
        "is torch"
    ),
    _key(
        "precision", "Precision", "precision", held=_ALL, paired=True, label=said(), line=said(), spelled=said(),
        definition="fp32, tf32 (fp32 with TF32 allowed), or fp16 or bf16 through torch.autocast; of a row with a "
        "runtime, what its file holds, also int8", short="Prec."
    ),
    _key(
        "compile", "Compile", "torch.compile", held=_ALL, paired=True, label=_COMPILED, line=_COMPILED,
        spelled=_COMPILED, definition="mode of torch.compile for backbone and neck; none is eager", short="Compile"
    ),
    _key(
        "batch_size", "Batch", "batch size", held=_ALL, paired=True, label=said("batch {}"),
        line=said("batch size {}"), spelled=said("b{}"),
        definition="images in one batch", unit="images", decimals=0, short="Batch"
    ),
    _key(
        "input_size", "Input", "input size", held=_ALL, paired=True, label=said("input {}"),
        line=said("images scaled to fit {} (shorter and longer edge)"), spelled=said(), short="Input",
        definition="shorter and longer edge in pixels that images are scaled to fit; empty is the model's own size"
    ),
    _key("model.options", "Options", "options of the model", held=(SERIES,), label=said()),
    Setting(
        "fine_tuned", "Fine-tuned", "training before the measurement",
        lambda result: config("finetune")(result) is not None, held=(SERIES,), label=if_so("fine-tuned")
    ),
    _key("finetune", "Training", "training", label=said()),
    Setting(
        "weights_kind", "Kind of weights", "kind of weights (random or trained)", weights_name, held=(REPORT, SERIES),
        compared=lambda result: "random" if untrained(result) else "trained", label=lambda path: Path(path).name
    ),
    _key("overlap", "Overlap", "overlap", held=_ALL, parts=("accuracy",), paired=True, label=said()),
    _key("detections", "Detections", "detections", held=_ALL, paired=True, label=said()),
    _key(
        "protocol.max_detections", "Most detections", "most detections of an image", held=_ALL,
        compared=max_detections, label=said("at most {} detections", unsaid=COCO_DETECTIONS),
        line=said("at most {} detections an image", unsaid=COCO_DETECTIONS), short="Most\ndet.", decimals=0,
        definition="most detections of an image that a model gives, and of an image and class that AP counts; COCO's "
        "AP has 100", in_titles=True
    ),
    _key("dataset.format", "Rules", "rules of mask AP", line=lambda form: _LVIS_RULES if form == "lvis" else ""),
    _key("dataset.exif", "EXIF", "way with EXIF orientations", held=_ALL, label=said("EXIF {}", unsaid="auto")),
    _key("dataset.image_range", "Image range", "range of the images' values", held=_ALL,
        label=said("image range {}")),
    _key("dataset.without_mask", "Without a mask", "way with annotations without a mask", held=_ALL,
        parts=("accuracy",), label=said("without mask: {}")),
    _key("evaluator", "Evaluator", "evaluator", held=(GATE,), parts=("accuracy",), label=said()),
    Setting(
        "timed_images", "Timed images", "number of images that are timed",
        lambda result: result.speed.timed_images if result.speed else None, ("protocol.timed_images",), held=_ALL,
        parts=("speed",), label=said("timed on {} images"),
        line=said("speed of the same {} images in every row, each timed equally often")
    ),
    _key("protocol.cudnn_benchmark", "cuDNN benchmark", "cuDNN benchmark", held=_ALL, parts=_USED,
        label=if_so("cuDNN benchmark")),
    _key("protocol.pin", "Pinned", "cores of its own", held=(GATE, SERIES), parts=_TIMED, label=if_so("pinned")),
    _key("protocol.exclusive", "Timed beside", "way of timing beside other slots", held=_ALL, parts=_TIMED, paired=True,
        label=_beside, line=_beside),
    _key("protocol.pad_to", "Padded", "one shape for all inputs", held=_ALL, parts=_USED,
        label=if_so("one input shape")),
    _key("protocol.channels_last", "Channels last", "channels last", held=_ALL, parts=_USED,
        label=if_so("channels last")),
    _key("model.score_threshold", "Score threshold", "score threshold", label=said("score threshold {}")),
    Setting("protocol", "Protocol", "protocol", timing_protocol,
        tuple(f"protocol.{key}" for key in TIMING_KEYS), label=said()),
    Setting(
        "option", "Option of model/", "option of model/", config("model", "name"),
        _keys("model", "name config classes python allow_pickle exported_from zoo published expected"),
        held=(SERIES,), label=said()
    ),
    _key("model._target_", "Class", "class of the model", label=short_target),
    Setting("files", "Files of options", "files of the model's options", files_content, held=(GATE,)),
    Setting("cpu", "Processor", "processor", machine("cpu", "name"), held=_ALL, parts=_USED),
    Setting("cores", "Cores", "usable cores", machine("cpu", "usable_cores"), held=_ALL, parts=_USED),
    Setting("threads", "Threads", "torch's threads", machine("torch_threads"), ("protocol.threads",), held=_ALL,
        parts=_USED),
    Setting("gpu", "GPU", "GPU", machine("gpu", "name"), held=_ALL, parts=_USED),
    Setting("driver", "Driver", "GPU driver", machine("gpu", "driver_version"), held=(GATE,), parts=_USED),
    Setting("power_limit", "Power limit", "GPU power limit", machine("gpu", "power_limit_watts"), held=(GATE,),
        parts=_TIMED),
    Setting("clocks", "Clocks", "clocks set by the user", machine("gpu", "clocks_set_by_user"), held=(GATE,),
        parts=_TIMED),
    Setting(
        "clock_source", "Clock", "clock that timed it",
        lambda result: result.speed.model.clock if result.speed else None, held=(GATE,), parts=("speed",)
    ),
    Setting(
        "host_memory_source", "Host memory", "way to read host memory",
        lambda result: getattr(result.memory, "host_rss_source", None), held=(GATE,), parts=("memory",)
    ),
    Setting(
        "device_memory_source", "Device memory", "way to read device memory",
        lambda result: getattr(result.memory, "device_source", None), held=(GATE,), parts=("memory",)
    ),
)
# fmt: on

SETTINGS: dict[str, Setting] = {setting.key: setting for setting in _TABLE}
"""Every setting by its key, in the order of every table and label."""
