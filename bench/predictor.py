"""What an adapter must give: a :class:`Predictor` that turns images into :class:`Instances`.

``docs/adapters.md`` shows one from beginning to end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.errors import UserError

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
    """

    device: torch.device
    checkpoint: Checkpoint | None = None
    classes: tuple[str, ...] | None = None
    score_threshold: float | None = None
    max_detections: int = 100
    config: str | None = None
    precision: str = "fp32"
    weights_path: Path | None = None


class Model(ABC):
    """The base of every class that a ``_target_`` names. maskbench calls it as ``cls(settings, **model.options)``."""

    classes: tuple[str, ...]
    """Class names; the place of a name is the model's own contiguous label."""

    packages: tuple[str, ...] = ()
    """Distributions (as ``pip list`` names them) whose version can change a figure; a row lists those installed."""

    @classmethod
    def files_read(cls, options: Mapping[str, Any]) -> Mapping[str, Path]:
        """Give the files whose content decides the figures, by the option that names each.

        options: ``model.options`` as configured

        A job is measured anew when the content of such a file changes, and not when its path changes. Leave out
        ``model.weights``: maskbench knows that file.
        """
        return {}


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
    """Those of fp32, tf32, fp16 and bf16 that it can compute in; a job that asks for another one is refused."""

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
    A class that overrides one of the three methods does not inherit True: it says so itself.
    """

    mask_functions: tuple[str, ...] = ()
    """Library functions ("package.module:Class.method") inside ``forward`` that make the full-size masks, for a
    library whose ``forward`` cannot be split. The stage timer brackets them and counts them as ``postprocess``.
    They must not call one another."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        lineage = [vars(base) for base in cls.__mro__]
        said = next(place for place, names in enumerate(lineage) if "stateless_preprocess" in names)
        if any(stage in names for names in lineage[:said] for stage in ("preprocess", "forward", "postprocess")):
            cls.stateless_preprocess = False

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


class ReplayPredictor(Model):
    """A model that exists only as its predictions: accuracy can be measured, speed and memory cannot.

    A file that ``files_read`` names ``results`` is a COCO results file, which is checked against the data set.
    """

    @abstractmethod
    def results(self, image_id: int) -> list[dict[str, Any]]:
        """Give the COCO results of one image by falling score; an empty list where there are none.

        Each has ``image_id``, ``category_id`` (an id of the data set, not a label), ``segmentation`` (RLE or polygons)
        and ``score`` (finite). All that there are may be given: COCO's limit of 100 an image and category is the
        evaluator's matter.
        """


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
