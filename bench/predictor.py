"""What an adapter must give: a :class:`Predictor` that turns images into :class:`Instances`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from bench.errors import UserError


@dataclass
class Instances:
    """The instances found in one image, by falling score, all on the model's device.

    masks:  bool (N, H, W) at the original image size
    boxes:  float32 (N, 4), xyxy in pixels of the original image
    scores: float32 (N,), finite, not rounded
    labels: int64 (N,), indices into ``Predictor.classes``
    """

    masks: torch.Tensor
    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def validate(self, height: int, width: int, num_classes: int, max_detections: int) -> None:
        """Check the promises above for an image of ``height`` x ``width`` pixels.

        Raises:
            ValueError: says which promise is broken. This is a bug of the adapter, not of the user.
        """
        n = len(self.scores)
        expected = {
            "masks": (self.masks, torch.bool, (n, height, width)),
            "boxes": (self.boxes, torch.float32, (n, 4)),
            "scores": (self.scores, torch.float32, (n,)),
            "labels": (self.labels, torch.int64, (n,)),
        }
        for name, (tensor, dtype, shape) in expected.items():
            if tensor.dtype != dtype or tuple(tensor.shape) != shape:
                raise ValueError(f"Instances.{name} is {tensor.dtype} {tuple(tensor.shape)}, must be {dtype} {shape}")
        if n > max_detections:
            raise ValueError(f"{n} instances in one image, at most {max_detections} are allowed")
        if n == 0:
            return
        if not bool(torch.isfinite(self.scores).all()):
            raise ValueError("Instances.scores holds NaN or infinity")
        if bool((self.scores[1:] > self.scores[:-1]).any()):
            raise ValueError("Instances are not ordered by falling score")
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= num_classes:
            raise ValueError(f"Instances.labels lies outside 0..{num_classes - 1}")


def validate_batch(
    outputs: Sequence[Instances], sizes: Sequence[tuple[int, int]], num_classes: int, max_detections: int, name: str
) -> None:
    """Hold what a predictor of the class ``name`` gave for images of these sizes (height, width) against its promises.

    Raises:
        ValueError: says which promise is broken.
    """
    if len(outputs) != len(sizes):
        raise ValueError(f"{name}.postprocess gave {len(outputs)} Instances for {len(sizes)} images")
    for instances, (height, width) in zip(outputs, sizes, strict=True):
        instances.validate(height, width, num_classes, max_detections)


@dataclass
class Checkpoint:
    """Trained weights, already read from disk (``bench.weights.load.load_checkpoint``).

    state_dict: parameter name -> CPU tensor, as the library spells the names
    classes:    the class names stored beside the weights, or None
    path:       where it was read from, for messages
    """

    state_dict: dict[str, torch.Tensor]
    path: str
    classes: tuple[str, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Target:
    """What there is to find in one training image, on the CPU, at the size of the image as given; crowds are left out.

    masks:  bool (N, h, w), N >= 1
    boxes:  float32 (N, 4), xyxy in pixels, around the masks, right and lower edge exclusive
    labels: int64 (N,), indices into ``Predictor.classes``
    """

    masks: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Settings:
    """What every predictor is given beside its own options.

    checkpoint: None means random weights: build the network and initialise it as the library does for training
        from scratch (torch is already seeded).
    classes: names by contiguous label. None means the library's own names for its published weights (COCO's 80).
    score_threshold: None means the library's own default; 0 keeps every candidate, so that an untrained
        model still gives ``max_detections`` instances (``detections: saturated``).
    config: the name inside the library's zoo, for adapters that serve one.
    """

    device: torch.device
    checkpoint: Checkpoint | None = None
    classes: tuple[str, ...] | None = None
    score_threshold: float | None = None
    max_detections: int = 100
    config: str | None = None


class Predictor(ABC):
    """One model of one library, in the three stages that are timed.

    A subclass is built as ``cls(settings, **model.options)``. It keeps its network in ``module``, in eval mode and
    on ``settings.device``. The worker calls the stages under ``torch.inference_mode`` and, for fp16 and bf16,
    ``torch.autocast``; a predictor does neither itself. The stages mean the same in every library:

    ======================= ============================================================================
    ``preprocess``          on the host: resize to the network's size, collate
    ``forward``             host-to-device copy, normalise, pad, network, NMS
    ``postprocess``         full-size boolean masks, on the device
    ======================= ============================================================================
    """

    classes: tuple[str, ...]
    module: torch.nn.Module | None = None

    mask_functions: tuple[str, ...] = ()
    """Library functions ("package.module:Class.method") inside ``forward`` that make the full-size masks, for a
    library whose ``forward`` cannot be split. The stage timer brackets them and counts them as ``postprocess``.
    They must not call one another."""

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, Any]:
        """Options of the constructor with which ``preprocess`` scales every image, its sides in proportion, until the
        shorter one has ``shorter`` pixels, or the longer one ``longer`` if that comes first (``input_size=``). They
        stand in place of those of the same name in ``model.options``.

        Raises:
            UserError: unless a subclass defines it, a model has its own input size and no other.
        """
        raise UserError(
            f"input_size={shorter}x{longer}: {cls.__name__} has its own input size and no other; leave input_size out, "
            f"or define options_for_input_size in the class"
        )

    @abstractmethod
    def preprocess(self, images: Sequence[np.ndarray]) -> Any:
        """Images, uint8 RGB (H, W, 3) each and of different sizes, to one host batch in the library's own form."""

    @abstractmethod
    def forward(self, batch: Any) -> Any:
        """The host batch to the library's raw output, on the device."""

    @abstractmethod
    def postprocess(self, raw: Any) -> list[Instances]:
        """Raw output to one :class:`Instances` per image."""

    def input_size(self, batch: Any) -> tuple[int, int] | None:
        """Height and width of the network's padded input for this batch, in pixels; None where it cannot be told."""
        return None

    backbone_prefix: str = "backbone."
    """What the names of the backbone's parameters begin with in ``module``; they train at a rate of their own."""

    compiled_parts: tuple[str, ...] = ("backbone", "neck")
    """Modules inside ``module`` that ``compile=`` has compiled, as far as they are there."""

    def training_edges(self) -> tuple[int, int]:
        """Shorter and longer edge of the test resize, in pixels: what an image is scaled to fit for training."""
        raise NotImplementedError(f"{type(self).__name__} does not support training")

    def training_step(self, images: Sequence[np.ndarray], targets: Sequence[Target]) -> dict[str, torch.Tensor]:
        """The losses of one batch by name, scalars with gradients, on the device; their sum is what is optimised.

        Images are uint8 RGB (h, w, 3), already flipped and resized; the predictor normalises and pads them as its
        ``forward`` does. The worker has put ``module`` into training mode (frozen BatchNorm stays in eval mode) and
        calls this under the autocast of the precision. Names are the same in every library: ``rpn_objectness``,
        ``rpn_box``, ``class``, ``box``, ``mask``, ``dice``, ``point``; losses of several decoder layers or cascade
        stages are summed under one name. A predictor that cannot be trained need not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not support training")


class ReplayPredictor(ABC):
    """A model that exists only as its predictions: accuracy can be measured, speed and memory cannot.

    ``results`` gives COCO results (``image_id``, ``category_id``, ``segmentation`` RLE, ``score``) of one image.
    """

    classes: tuple[str, ...]

    @abstractmethod
    def results(self, image_id: int) -> list[dict[str, Any]]:
        """COCO results of one image, at most ``max_detections``, by falling score."""


def predict(predictor: Predictor, images: Sequence[np.ndarray]) -> list[Instances]:
    """All three stages, under ``torch.inference_mode``. Images are uint8 RGB (H, W, 3)."""
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
        )
    module.load_state_dict(given, strict=False)
