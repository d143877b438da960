"""What an adapter must give: a :class:`Predictor` that turns images into :class:`Instances`.

``docs/adapters.md`` shows one from beginning to end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import UserError

if TYPE_CHECKING:  # a class that replays results may need none, and it takes seconds
    import torch

SCORE_ROUNDING = 0.01
"""The share by which a score may lie below the threshold: a model that compares in bfloat16 rounds by up to 0.004."""


@dataclass
class Instances:
    """The instances of one image, ordered by falling score. All tensors are on the model's device.

    masks:  bool (N, H, W) at the original image size
    boxes:  float32 (N, 4), xyxy in pixels of the original image, finite, x1 <= x2 and y1 <= y2
    scores: float32 (N,), finite, not rounded, not below the score threshold
    labels: int64 (N,), indices into ``Predictor.classes``
    """

    masks: torch.Tensor
    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def validate(
        self, height: int, width: int, num_classes: int, max_detections: int, score_threshold: float | None = None
    ) -> None:
        """Check the promises above for an image of ``height`` x ``width`` pixels.

        Scores may exceed 1 or fall below 0, as a class probability times a predicted mask IoU does, and boxes may reach
        beyond the image: only their order says something of the model.

        Raises:
            ValueError: the message names the field, what was given and what is promised. It is a bug of the adapter.
        """
        self._refuse_forms(height, width)
        if len(self) > max_detections:
            raise ValueError(
                f"Instances.scores holds {len(self)} instances, must be at most {max_detections} of one image "
                f"(settings.max_detections)"
            )
        if len(self):
            self._refuse_values(num_classes, score_threshold)

    def _refuse_forms(self, height: int, width: int) -> None:
        """Raise a ValueError where a field is no tensor of the promised type and shape."""
        import torch

        for name in ("scores", "masks", "boxes", "labels"):
            if not isinstance(value := getattr(self, name), torch.Tensor):
                raise ValueError(f"Instances.{name} is a {_kind(value)}, must be a torch.Tensor")
        n = self.scores.shape[0] if self.scores.ndim else 1
        expected = {
            "masks": (self.masks, torch.bool, (n, height, width)),
            "boxes": (self.boxes, torch.float32, (n, 4)),
            "scores": (self.scores, torch.float32, (n,)),
            "labels": (self.labels, torch.int64, (n,)),
        }
        for name, (tensor, dtype, shape) in expected.items():
            if tensor.dtype != dtype or tuple(tensor.shape) != shape:
                raise ValueError(f"Instances.{name} is {tensor.dtype} {tuple(tensor.shape)}, must be {dtype} {shape}")

    def _refuse_values(self, num_classes: int, score_threshold: float | None) -> None:
        """Raise a ValueError where a value of scores, boxes or labels is none that is promised; N is at least 1."""
        import torch

        # On the host: one transfer a field costs less than a kernel and a transfer for every check.
        scores, boxes, labels = self.scores.cpu(), self.boxes.cpu(), self.labels.cpu()
        for name, values in (("scores", scores), ("boxes", boxes)):
            if not bool(torch.isfinite(values).all()):
                raise ValueError(f"Instances.{name} holds NaN or infinity, must be finite")
        if bool((scores[1:] > scores[:-1]).any()):
            raise ValueError("Instances.scores rises from one instance to the next, must be ordered by falling score")
        least = float(scores[-1])
        if score_threshold and least < score_threshold * (1 - SCORE_ROUNDING):
            raise ValueError(
                f"Instances.scores holds {least:.4g}, must be at least the score threshold {score_threshold:g} "
                f"(settings.score_threshold)"
            )
        turned = (boxes[:, :2] > boxes[:, 2:]).any(1)
        if bool(turned.any()):
            box = [round(value, 1) for value in boxes[turned][0].tolist()]
            raise ValueError(f"Instances.boxes holds {box}, must be [x1, y1, x2, y2] with x1 <= x2 and y1 <= y2")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= num_classes:
            raise ValueError(f"Instances.labels holds {low if low < 0 else high}, must be 0 to {num_classes - 1}")


def boxes_around(masks: torch.Tensor) -> torch.Tensor:
    """Give the boxes around bool masks (N, H, W): float32 (N, 4), xyxy in pixels, right and lower edge exclusive.

    The box of an empty mask is all zeros.
    """
    import torch

    pixels = masks.view(torch.uint8)
    columns, rows = pixels.amax(1), pixels.amax(2)
    low = torch.stack([columns.argmax(1), rows.argmax(1)], 1)
    high = torch.stack([columns.shape[1] - columns.flip(1).argmax(1), rows.shape[1] - rows.flip(1).argmax(1)], 1)
    return torch.cat([low, high], 1) * rows.amax(1)[:, None].float()


@dataclass
class Checkpoint:
    """Trained weights, already read from disk (``bench.weights.load.load_checkpoint``).

    state_dict: parameter name -> CPU tensor, as the library spells the names
    classes:    the class names in the file, or None
    path:       the file that it was read from, for messages
    metadata:   plain values (text, numbers) that the file holds beside the weights
    """

    state_dict: dict[str, torch.Tensor]
    path: str
    classes: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Target:
    """The annotated instances of one training image without its crowds, on the CPU, at the size of the image as given.

    masks:  bool (N, h, w), N >= 1
    boxes:  float32 (N, 4), xyxy in pixels, around the masks, right and lower edge exclusive
    labels: int64 (N,), indices into ``Predictor.classes``
    """

    masks: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Settings:
    """What maskbench tells a model beside the model's own options. A row says that its model ran with these.

    checkpoint: None means random weights: build the network and initialise it as the library does for training
        from scratch (torch is already seeded). It is None too for a class that ``reads_weights_itself``.
    classes: names by contiguous label. None means the library's own names for its published weights (COCO's 80).
    score_threshold: None means the library's own default; 0 keeps every candidate, so that an untrained
        model still gives ``max_detections`` instances (``detections: saturated``).
    config: the name inside the library's zoo, for adapters that serve one.
    precision: one of the class's ``precisions``. A :class:`TorchPredictor` may ignore it: it is called under autocast.
    weights_path: the weights file as the user gave it, for a runtime that loads its own format; None without a file.
    pad_to: pad every input to one square of this edge, in pixels, or the next larger one that the network's stride
        allows; None pads as the library does. Only a class that says ``pads_inputs`` is asked for it.
    classes_told: whether ``classes`` were told by ``model.classes`` or the checkpoint. False: they may be only those of
        the data set, whose order a model need not have.
    """

    device: torch.device
    checkpoint: Checkpoint | None = None
    classes: tuple[str, ...] | None = None
    score_threshold: float | None = None
    max_detections: int = 100
    config: str | None = None
    precision: str = "fp32"
    weights_path: Path | None = None
    pad_to: int | None = None
    classes_told: bool = False


@dataclass(frozen=True)
class Runtime:
    """What runs a network that is no torch module, as a row tells it.

    provider: the part of the runtime that really computes, as the runtime says once the network is loaded
    file_precision: what the file holds: fp32, fp16, bf16 or int8
    opset: version of the file's operators
    build_seconds: how long the runtime took to load and to optimise the network
    threads: of the runtime on the host; None where it has none of its own
    layout, preprocessing: how its outputs are read, and what images are made of before it, in words
    exported_from: SHA-256 of the weights that the file was exported from, as ``maskbench export`` writes it into the
        file; None where the file does not say it
    exported_network: digest of the class and the options that it was exported from; None where the file does not say it
    exported_size: ``input_size`` with which it was exported; None is the model's own
    calibration: the images by which an int8 file was calibrated, in words; None where the file does not say it
    """

    name: str
    version: str
    provider: str
    file_precision: str
    opset: int
    file_bytes: int
    build_seconds: float
    threads: int | None
    layout: str
    preprocessing: str
    exported_from: str | None = None
    exported_network: str | None = None
    exported_size: str | None = None
    calibration: str | None = None


class Model(ABC):
    """The base of every class that a ``_target_`` names. maskbench calls it as ``cls(settings, **model.options)``."""

    classes: tuple[str, ...]
    """Class names; the place of a name is the model's own contiguous label."""

    packages: tuple[str, ...] = ()
    """Distributions (as ``pip list`` names them) whose version can change a figure; a row lists those installed."""

    word_options: tuple[str, ...] = ()
    """Options of which every text is a word of the class's own and never a path: a file or a folder that happens to
    have the name of such a word is nothing that the figures depend on. Of any other option it counts as one."""

    @classmethod
    def files_read(cls, options: Mapping[str, Any]) -> Mapping[str, Path]:
        """Give the files whose content decides the figures, by the option that names each.

        options: ``model.options`` as configured

        A job is measured anew when the content of such a file changes, and not when its path changes. Leave out
        ``model.weights``: maskbench knows that file.
        """
        return {}

    @classmethod
    def config_files(cls, path: Path) -> Sequence[Path]:
        """Give the files and folders whose content decides the figures, of a file or a folder in ``model.config``.

        path: absolute; it exists. A name inside a library's zoo is not asked about: the library's version covers it.

        A job is measured anew when the content of one changes, or of a file that one of them builds upon
        (:func:`bench.files.config_files.with_bases`). By default it is the file, or the folder as a whole.
        """
        return [path]


class Predictor(Model):
    """One model of one runtime, divided into the three stages that are timed.

    The worker calls the stages under ``torch.inference_mode``. They mean the same in every library:

    ======================= ============================================================================
    ``preprocess``          on the host: resize to the network's size, collate
    ``forward``             host-to-device copy, normalise, pad, network, NMS
    ``postprocess``         full-size boolean masks, on the device
    ======================= ============================================================================
    """

    precisions: tuple[str, ...] = ("fp32",)
    """Those of fp32, tf32, fp16, bf16 and int8 that it can compute in; a job that asks for another one is refused. A
    class whose file decides sets its own in ``__init__``; those of the class are then all that a file may hold."""

    runtime: Runtime | None = None
    """What runs the network, where that is not torch; set in ``__init__``."""

    fixed_batch: int | None = None
    """The only batch size that the network takes, where it has one; set in ``__init__``."""

    notes: tuple[str, ...] = ()
    """What a reader of the row must know of this model; set in ``__init__``."""

    reads_weights_itself: bool = False
    """Whether it loads ``settings.weights_path`` itself, in a format that torch does not read (ONNX, an engine)."""

    stateless_preprocess: bool = False
    """Whether maskbench may run ``preprocess`` ahead of the model, in another thread, and one batch several times.

    False: ``preprocess``, ``forward`` and ``postprocess`` are called in this order for one batch after the other, in
    one thread, and what one of them keeps in ``self`` is there for the next. Only files are decoded ahead.
    True promises three things. ``preprocess`` keeps nothing of its images in ``self``, and may run while ``forward``
    works on another batch; no two threads are ever in it at once. ``forward`` leaves the batch as it is, so that a
    second call gives the same again. The masks are tensors of their own, which no later call writes into. The accuracy
    pass is then quicker, and the energy pass measures without a pause.
    A class that overrides one of the three methods, or replaces one on the object in ``__init__``, does not inherit
    True: it says so itself.
    """

    pads_inputs: bool = False
    """Whether ``forward`` pads every input to ``settings.pad_to`` where that is given (``protocol.pad_to``). Masks and
    boxes are of the image without its padding, as always; :meth:`input_size` tells the padded size. A class that
    overrides ``forward``, or replaces it on the object, does not inherit True."""

    mask_functions: tuple[str, ...] = ()
    """Library functions ("package.module:Class.method") inside ``forward`` that make the full-size masks, for a
    library whose ``forward`` cannot be split. The stage timer brackets them and counts them as ``postprocess``.
    They must not call one another."""

    looks_for_nan: bool | None = None
    """Of a class that itself searches what its network gave for values that mean nothing: whether it is to do so now.
    maskbench sets it to False while something is timed, since the rows of other classes do not pay for such a search,
    and to True in the accuracy pass and in a call before the timing. A class that says True takes part in that."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if cls._overrides_since("stateless_preprocess", "preprocess", "forward", "postprocess"):
            cls.stateless_preprocess = False
        if cls._overrides_since("pads_inputs", "forward"):
            cls.pads_inputs = False

    def settle_promises(self) -> None:
        """Take back what its class promises of a method that the constructor, or a function around it, has replaced on
        the object, as ``self.preprocess = ...`` does; where the object says the promise itself, it stays.
        """
        own = vars(self)
        if "stateless_preprocess" not in own and own.keys() & {"preprocess", "forward", "postprocess"}:
            self.stateless_preprocess = False
        if "pads_inputs" not in own and "forward" in own:
            self.pads_inputs = False

    @classmethod
    def _overrides_since(cls, promise: str, *stages: str) -> bool:
        """Tell whether a class overrides one of these methods and does not say anew what its base promises of them."""
        lineage = [vars(base) for base in cls.__mro__]
        said = next(place for place, names in enumerate(lineage) if promise in names)
        return any(stage in names for names in lineage[:said] for stage in stages)

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, Any]:
        """Give the options of the constructor that set the input size (``input_size=``), in pixels.

        With them ``preprocess`` scales every image in proportion, until its shorter side has ``shorter`` pixels, or its
        longer side ``longer`` if that comes first. They replace options of the same name in ``model.options``.

        Raises:
            UserError: here, for a class that does not define this method: its model has its own input size only.
        """
        raise UserError(
            f"input_size={shorter}x{longer}: {cls.__name__} has its own input size and no other; leave input_size out, "
            f"or define options_for_input_size in the class"
        )

    @classmethod
    def refuse_device(cls, device: torch.device, options: Mapping[str, Any]) -> None:
        """Raise an error where its runtime cannot compute on this device; asked before anything runs.

        options: ``model.options`` as configured

        Raises:
            OtherDeviceError: the row is skipped where other models of the study can use the device, else refused.
            UserError: what was asked for is wrong for any model.
        """

    def export_onnx(self, path: Path) -> None:
        """Write its network into an ONNX file, as ``maskbench export`` does, with what the file's reader must know.

        Raises:
            UserError: here, for a class that does not define this method.
        """
        raise UserError(f"{type(self).__name__} cannot be exported: its class defines no export_onnx")

    def quantise_onnx(self, images: Iterable[np.ndarray], path: Path) -> None:
        """Write the ONNX file that it runs as an int8 file, calibrated on these images, uint8 RGB (H, W, 3).

        Raises:
            UserError: here, for a class that does not define this method.
        """
        raise UserError(f"{type(self).__name__} cannot quantise: its class defines no quantise_onnx")

    @abstractmethod
    def preprocess(self, images: Sequence[np.ndarray]) -> Any:
        """Make one host batch, in the library's own form, of images that are uint8 RGB (H, W, 3) and differ in size."""

    @abstractmethod
    def forward(self, batch: Any) -> Any:
        """Turn the host batch into the library's raw output, on the device."""

    @abstractmethod
    def postprocess(self, raw: Any) -> list[Instances]:
        """Turn the raw output into one :class:`Instances` per image."""

    def input_size(self, batch: Any) -> tuple[int, int] | None:
        """Give height and width of the network's padded input for this batch, in pixels; None where unknown."""
        return None


class TorchPredictor(Predictor):
    """A predictor whose network is a ``torch.nn.Module``: its parameters are counted, its parts can be compiled.

    maskbench calls ``forward`` and ``postprocess`` under ``torch.autocast`` for fp16 and bf16, and allows TF32 for
    tf32; the class itself does neither.
    """

    module: torch.nn.Module
    """The network, in eval mode and on ``settings.device`` once the constructor is done."""

    precisions = ("fp32", "tf32", "fp16", "bf16")

    compiled_parts: tuple[str, ...] = ("backbone", "neck")
    """Names of the modules inside ``module`` that ``compile=`` compiles; a name that ``module`` lacks is ignored."""

    score_modules: tuple[str, ...] = ("",)
    """Names of the modules inside ``module`` ("" is ``module`` itself) whose output holds no NaN where all is well. The
    accuracy pass fails where it does, since a library's own threshold drops such instances without a word. A name that
    ``module`` lacks, and what is no tensor in an output, is ignored."""

    def use_channels_last(self) -> None:
        """Lay the weights out in torch's channels-last order (``protocol.channels_last``)."""
        self.module.to(memory_format=torch.channels_last)


class Trainable(Predictor):
    """The methods that ``finetune=`` needs. A class derives from :class:`TorchPredictor` and from this one."""

    module: torch.nn.Module

    backbone_prefix: str = "backbone."
    """The beginning of the names of the backbone's parameters in ``module``; these train at a rate of their own."""

    @abstractmethod
    def training_edges(self) -> tuple[int, int]:
        """Give the shorter and the longer edge of the test resize, in pixels; training images are scaled to fit."""

    @abstractmethod
    def training_step(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        """Give the losses of one batch by name: scalars with gradients, on the device. Their sum is optimised.

        Images are uint8 RGB (h, w, 3), already flipped and resized; the predictor normalises and pads them as its
        ``forward`` does. The worker has put ``module`` into training mode (frozen BatchNorm stays in eval mode) and
        calls this under the autocast of the precision. Names are the same in every library: ``rpn_objectness``,
        ``rpn_box``, ``class``, ``box``, ``mask``, ``dice``, ``point``; losses of several decoder layers or
        cascaded heads are summed under one name.
        """


@dataclass(frozen=True)
class ResultsFile:
    """A COCO results file that a :class:`ReplayPredictor` names, and how it is read where that has to be said.

    category_offset: is added to every ``category_id``, for a file whose classes are counted from another number
    image_ids: ``id`` where ``image_id`` is the id of an image, ``name`` where it is the name of the image's file or a
        part of it; ``auto`` takes the first of both that fits all results
    other_images: ``drop`` leaves out results of images that the data set lacks, None refuses a file with more than a
        few of them
    category_ids: ``id`` where ``category_id`` is the id of a category (with ``category_offset``), ``index0`` or
        ``index1`` where it is the place in the data set's categories by rising id, counted from 0 or 1. A file that
        names its categories itself is read by these names
    """

    path: Path
    category_offset: int = 0
    image_ids: str = "auto"
    other_images: str | None = None
    category_ids: str = "id"


class ReplayPredictor(Model):
    """A model that exists only as its predictions: accuracy can be measured, speed and memory cannot.

    It needs no image files. A class either sets :attr:`results_file` in ``__init__``, or defines :meth:`results`.
    """

    needs_torch: bool = True
    """Whether torch is imported and seeded before the class is called. A class that does not use it may say False, in
    its own body. Where the device is ``cpu``, ``settings.device`` may then be this text, and the worker takes 300 MB
    and some seconds less."""

    results_file: ResultsFile | None = None
    """The file that maskbench reads, checks and repairs (``bench.data.results``); name it in ``files_read`` too."""

    def results(self, image_id: int | str) -> list[dict[str, Any]]:
        """Give the COCO results of one image by falling score; an empty list where there are none.

        image_id: the id as it stands in the annotation file; 1.0 and "1" are 1

        Each has ``image_id``, ``category_id`` (an id of the data set, not a label), ``segmentation`` (RLE or polygons)
        and ``score`` (finite). All that there are may be given: COCO's limit of 100 an image and category is the
        evaluator's matter. It is not called where :attr:`results_file` is set.
        """
        raise NotImplementedError(f"{type(self).__name__} sets no results_file and defines no results()")


def validate_batch(
    predictor: Predictor,
    outputs: Any,
    sizes: Sequence[tuple[int, int]],
    max_detections: int,
    score_threshold: float | None = None,
    device: torch.device | None = None,
) -> None:
    """Check the output of ``postprocess`` for a batch of images of these sizes, (height, width) in pixels.

    score_threshold: that of the settings; None or 0 checks nothing
    device: where the masks of a :class:`TorchPredictor` must be, by its type; None checks nothing

    Raises:
        ValueError: the message names the class's method, the field, what was given and what is promised.
    """
    method = f"{type(predictor).__name__}.postprocess"
    if not isinstance(outputs, (list, tuple)) or len(outputs) != len(sizes):
        given = f"{len(outputs)} of them" if isinstance(outputs, (list, tuple)) else f"a {_kind(outputs)}"
        raise ValueError(f"{method}: gave {given}, must be a list of {len(sizes)} Instances, one for each image")
    for number, (instances, (height, width)) in enumerate(zip(outputs, sizes, strict=True)):
        if not isinstance(instances, Instances):
            raise ValueError(f"{method}: image {number} of the batch: gave a {_kind(instances)}, must be Instances")
        try:
            instances.validate(height, width, len(predictor.classes), max_detections, score_threshold)
            if device is not None and isinstance(predictor, TorchPredictor):
                _refuse_elsewhere(instances.masks, device)
        except ValueError as error:
            raise ValueError(f"{method}: image {number} of the batch: {error}") from None


def _refuse_elsewhere(masks: torch.Tensor, device: torch.device) -> None:
    if len(masks) and masks.device.type != device.type:
        raise ValueError(f"Instances.masks are on {masks.device}, must be on {device} (settings.device)")


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def predict(predictor: Predictor, images: Sequence[np.ndarray]) -> list[Instances]:
    """Run all three stages under ``torch.inference_mode``. Images are uint8 RGB (H, W, 3)."""
    import torch

    with torch.inference_mode():
        return predictor.postprocess(predictor.forward(predictor.preprocess(images)))


def load_weights(module: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint into a network of exactly its architecture.

    Raises:
        UserError: names that are missing, unexpected or of another shape, counted, with the first of each.
    """
    own = module.state_dict()
    given = checkpoint.state_dict
    # BatchNorm's step counter is absent from older checkpoints and plays no part in inference.
    missing = [k for k in own if k not in given and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in given if k not in own]
    shapes = [k for k in own if k in given and own[k].shape != given[k].shape]
    problems = [
        f"{len(keys)} {what} (first: {keys[0]})"
        for keys, what in ((missing, "missing"), (unexpected, "unexpected"), (shapes, "of another shape"))
        if keys
    ]
    if problems:
        raise UserError(
            f"{checkpoint.path}: the checkpoint does not fit this model, parameters: {'; '.join(problems)}; "
            f"give weights of the same architecture and classes"
            + ("" if checkpoint.classes else "; the file names no classes: model.classes=[...] says which they are")
        )
    module.load_state_dict(given, strict=False)
