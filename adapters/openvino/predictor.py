"""Run an ONNX file with OpenVINO on the processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openvino
import torch

from adapters.onnx.base import OnnxFilePredictor, Session
from adapters.onnx.file import OnnxFile
from adapters.onnx.telling import Port
from bench.errors import OtherDeviceError, UserError
from bench.predictor import Settings

HINTS = {"fp32": "f32", "int8": "f32", "fp16": "f16", "bf16": "bf16"}
"""OpenVINO's name of the type in which operators that are not quantised compute, by the file's precision."""

TYPES = {"f32": torch.float32, "f16": torch.float16, "u8": torch.uint8}


class OpenVinoPredictor(OnnxFilePredictor):
    """An ONNX file in OpenVINO, on the CPU. The options are those of :class:`OnnxFilePredictor`."""

    packages = ("openvino", "onnx", "torchvision")
    precisions = ("fp32", "fp16", "bf16", "int8")
    stateless_preprocess = True

    @classmethod
    def refuse_device(cls, device: torch.device, options: Mapping[str, Any]) -> None:
        if device.type != "cpu":
            raise OtherDeviceError(f"device={device}: OpenVINO is run on the CPU here; give device=cpu")

    def load(self, file: OnnxFile, settings: Settings) -> Session:
        return OpenVinoSession(file)


class OpenVinoSession:
    """A network that OpenVINO has compiled for latency: one stream, torch's number of threads.

    By its own choice OpenVINO computes in bfloat16 or float16 where the processor can. Here it computes in what the
    file holds, and a network that would not is refused.
    """

    name = "OpenVINO"
    version: str = openvino.__version__.partition("-")[0]
    threads: int | None

    def __init__(self, file: OnnxFile) -> None:
        _refuse_rounded_features(file)
        _refuse_antialiasing(file)
        self.threads = torch.get_num_threads()
        hint = HINTS[file.precision]
        asked = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": hint,
        }
        core = openvino.Core()
        try:
            self._network = core.compile_model(core.read_model(str(file.path)), "CPU", asked)
        except RuntimeError as error:
            line = next((each for each in reversed(str(error).splitlines()) if each.strip()), "")
            raise UserError(f"model.weights={file.path}: OpenVINO cannot load it: {line.strip()[:200]}") from error
        _refuse_other_precision(self._network, hint, file)
        self.provider = f"CPU {hint}"
        self.notes: list[str] = []
        self.inputs = [_port(each) for each in self._network.inputs]
        self.outputs = [_port(each, file.outputs) for each in self._network.outputs]
        kind = self._network.inputs[0].get_element_type().get_type_name()
        if kind not in TYPES:
            raise UserError(f"{file.path}: its input is {kind}, must be one of {', '.join(TYPES)}")
        self.dtype = TYPES[kind]
        self._request = self._network.create_infer_request()

    def run(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        self._request.infer([openvino.Tensor(images.contiguous().numpy(), shared_memory=True)])
        # Copied: the request writes the next outputs into the same memory.
        return {
            port.name: torch.from_numpy(np.array(self._request.get_output_tensor(place).data))
            for place, port in enumerate(self.outputs)
        }


def _refuse_other_precision(network: Any, hint: str, file: OnnxFile) -> None:
    """Refuse a network that OpenVINO computes in another type than its file holds."""
    taken = network.get_property("INFERENCE_PRECISION_HINT")
    name = taken.get_type_name() if hasattr(taken, "get_type_name") else str(taken)
    if name not in (hint, f"<Type: '{hint}'>"):
        raise UserError(
            f"precision={file.precision}: OpenVINO computes {file.path.name} in {name} on this processor, so the row "
            f"would say another precision than it had; give the file in fp32"
        )


def _refuse_rounded_features(file: OnnxFile) -> None:
    """Refuse an int8 file of which OpenVINO computes other boxes than ONNX Runtime does, without a word.

    OpenVINO 2026.4 gave RoIAlign features that were 3 times too large; mask AP of the demo was 29.4 in place of 59.2.
    """
    if file.precision == "int8" and file.rounds_features:
        raise UserError(
            f"model.weights={file.path}: its RoIAlign reads features rounded to int8, of which OpenVINO computes wrong "
            f"boxes; export it with --int8 anew, or run it in ONNX Runtime: model=onnx"
        )


def _refuse_antialiasing(file: OnnxFile) -> None:
    """Refuse a file of which OpenVINO 2026.4 scales values without the antialiasing that it asks for, without a word.

    Mask AP of the demo's RF-DETR for inputs of 192 pixels was 52.3 in place of 52.8.
    """
    if file.antialiases:
        raise UserError(
            f"model.weights={file.path}: a Resize of it asks for antialiasing, which OpenVINO leaves out; run it in "
            f"ONNX Runtime: model=onnx, or export it anew, with a network that scales nothing with antialiasing"
        )


def _port(port: Any, known: Sequence[str] = ()) -> Port:
    """Describe an input or output.

    known: the names that the file gives; OpenVINO has others too, where it has left out what only hands a value on
    """
    shape = tuple(edge.get_length() if edge.is_static else None for edge in port.get_partial_shape())
    names = port.get_names()
    own = min(names, key=lambda name: (name not in known, name)) if names else port.get_node().get_friendly_name()
    return Port(own, shape, "i" in port.get_element_type().get_type_name()[:1])
