"""The predictor of an ONNX file, whatever the runtime."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from adapters.onnx import labelling
from adapters.onnx import options as told
from adapters.onnx.decode import Finish
from adapters.onnx.file import OnnxFile, read_onnx
from adapters.onnx.finish import Limits
from adapters.onnx.frame import Frame, Normalisation
from adapters.onnx.layouts import by_role, choose, refuse_masks
from adapters.onnx.telling import Port
from bench.errors import UserError
from bench.predictor import Instances, Predictor, Runtime, Settings


class Session(Protocol):
    """A network that a runtime has loaded.

    provider: the part of the runtime that really computes
    dtype: of the input
    notes: what a reader of the row must know of it
    """

    name: str
    version: str
    provider: str
    threads: int | None
    inputs: list[Port]
    outputs: list[Port]
    dtype: torch.dtype
    notes: list[str]

    def run(self, images: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Run the network; ``images`` are on the device, and so is what it gives, by the names of the outputs."""


@dataclass
class Batch:
    """A batch on the host: resized images (3, h, w) of 0 to 255, and where each lies in the input."""

    images: list[torch.Tensor]
    frames: list[Frame]


@dataclass
class Raw:
    """What is found in each image, without its full-size masks."""

    found: list[Finish]
    frames: list[Frame]


class OnnxFilePredictor(Predictor):
    """A network in an ONNX file, up to boxes and small masks or mask logits; the full-size masks are made here.

    layout: of the outputs (:data:`adapters.onnx.layouts.LAYOUTS`); null tells it by names and shapes
    labels: ``order``, ``coco`` or ``auto``, see :func:`adapters.onnx.labelling.labels`
    nms_iou: where the file leaves NMS to us: boxes of one class that overlap more are one object
    masks: of the layouts ``torchvision`` and ``mmdeploy``: ``boxes`` where each lies in its box, ``input`` where each
        is of the whole input; null tells it by their size
    preprocessing: fields of :class:`adapters.onnx.frame.Preprocessing`; null is what the file's metadata says, else
        what the makers of the layout do

    Raises:
        UserError: the file, its outputs, its classes or an option do not fit.
    """

    reads_weights_itself = stateless_preprocess = looks_for_nan = True
    word_options = ("layout", "labels", "masks", "provider", "resize", "channels", "rounding")

    def __init__(
        self,
        settings: Settings,
        layout: str | None = None,
        labels: str = "auto",
        nms_iou: float = 0.7,
        masks: str | None = None,
        **preprocessing: Any,
    ) -> None:
        if settings.weights_path is None:
            raise UserError("model.weights: an ONNX file is to be run, and none is given; give model.weights=FILE.onnx")
        told.check(layout, nms_iou, masks)
        file = read_onnx(settings.weights_path)
        self.device, self.precisions = settings.device, self.computes_in(file)
        self._refuse_precision(file, settings)
        began = time.perf_counter()
        self.session = self.load(file, settings)
        build_seconds = time.perf_counter() - began
        image = told.image_input(self.session.inputs, file.path)
        self.layout, self.roles = choose(self.session.outputs, layout or file.told.get("layout"), str(file.path))
        refuse_masks(self.layout, masks)
        self.fixed = told.fixed_size(image)
        self.how = told.preprocessing(file, self.layout, self.fixed, preprocessing, self.session.dtype == torch.uint8)
        self.classes = labelling.classes(file, settings.classes if settings.classes_told else None)
        if layout is None and "layout" not in file.told:
            labelling.refuse_ambiguous(file, self.layout, self.roles, self.classes)
        own = torch.tensor(labelling.labels(file, self.layout, self.roles, self.classes, labels), device=self.device)
        self.limits = Limits(settings.score_threshold, settings.max_detections, nms_iou, own, str(file.path), masks)
        self.batched = image.rank == 4
        self.fixed_batch = image.shape[0] if self.batched and self.layout.batched else 1
        self.normalise = Normalisation(self.how, self.device, self.session.dtype)
        self.notes = (*self.session.notes, *file.notes, *file.calibration_notes, *labelling.notes(file, self.classes))
        self.runtime = self._said(file, build_seconds)

    def _said(self, file: OnnxFile, build_seconds: float) -> Runtime:
        """Give what a row says of the runtime."""
        return Runtime(
            name=self.session.name,
            version=self.session.version,
            provider=self.session.provider,
            file_precision=file.precision,
            opset=file.opset,
            file_bytes=file.file_bytes,
            build_seconds=build_seconds,
            threads=self.session.threads,
            layout=self.layout.name,
            preprocessing=self.how.words(),
            exported_from=file.origin.get("weights_sha256"),
            exported_network=file.origin.get("network_sha256"),
            exported_size=file.origin.get("input_size"),
            calibration=file.origin.get("calibration"),
        )

    @abstractmethod
    def load(self, file: OnnxFile, settings: Settings) -> Session:
        """Have the runtime load the file.

        Raises:
            UserError: it cannot, or would run it elsewhere than was asked for.
        """

    def computes_in(self, file: OnnxFile) -> tuple[str, ...]:
        """Give the words of ``precision=`` that are true of this file: it is the file's, and none can be asked for."""
        return (file.precision,)

    def _refuse_precision(self, file: OnnxFile, settings: Settings) -> None:
        if settings.precision not in self.precisions:
            raise UserError(
                f"precision={settings.precision}: {file.path.name} holds {file.precision}, and a runtime computes in "
                f"what its file holds; give precision={self.precisions[0]}, or a file of another precision"
            )

    @classmethod
    def options_for_input_size(cls, shorter: int, longer: int) -> dict[str, Any]:
        return {"size": [shorter, longer]}

    def preprocess(self, images: Sequence[np.ndarray]) -> Batch:
        resized = [self.how.resized(image, self.fixed) for image in images]
        sizes = [(pixels.shape[-2], pixels.shape[-1]) for pixels, _ in resized]
        whole = self.how.padded(sizes, self.fixed)
        frames = [
            Frame((image.shape[0], image.shape[1]), (*corner, *size), whole)
            for image, (_, corner), size in zip(images, resized, sizes, strict=True)
        ]
        return Batch([pixels for pixels, _ in resized], frames)

    def forward(self, batch: Batch) -> Raw:
        outputs = by_role(self.roles, self.session.run(self.network_input(batch)))
        self._refuse_other_batch(outputs, self._count(batch))
        limits = replace(self.limits, looks_for_nan=self.looks_for_nan is True)
        found = []
        for place, frame in enumerate(batch.frames):
            own = {role: tensor[place] for role, tensor in outputs.items()} if self.layout.batched else outputs
            found.append(self.layout.detect(own, frame, limits))
        return Raw(found, batch.frames)

    def network_input(self, batch: Batch) -> torch.Tensor:
        """Give what the network gets of a batch: (B, 3, H, W), or (3, H, W) where it takes one image."""
        pixels = self.normalise(batch.images, batch.frames, self._count(batch))
        return pixels if self.batched else pixels[0]

    def _count(self, batch: Batch) -> int:
        """Give how many images the network gets: the last batch may have fewer images than the file wants."""
        return self.fixed_batch or len(batch.images)

    def postprocess(self, raw: Raw) -> list[Instances]:
        return [finish(frame) for finish, frame in zip(raw.found, raw.frames, strict=True)]

    def input_size(self, batch: Batch) -> tuple[int, int]:
        return batch.frames[0].padded

    def _refuse_other_batch(self, outputs: Mapping[str, torch.Tensor], count: int) -> None:
        """Refuse outputs of another number of images: what they belong to is not known."""
        for role, tensor in outputs.items():
            if self.layout.batched and tensor.shape[0] != count:
                raise UserError(
                    f"{self.limits.where}: its output {self.roles[role].name} is of {tensor.shape[0]} images, for a "
                    f"batch of {count}; give batch_size=1, or export it with a dynamic batch"
                )
