"""Run an ONNX file with ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from adapters.onnx.base import OnnxFilePredictor, Session
from adapters.onnx.file import OnnxFile
from adapters.onnx.telling import Port
from bench.errors import OtherDeviceError, UserError, nearest
from bench.predictor import Settings

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
"""ONNX Runtime's name of each provider, by the word of ``model.options.provider``."""

TYPES = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(float16)": (torch.float16, np.float16),
    "tensor(uint8)": (torch.uint8, np.uint8),
}


class OnnxPredictor(OnnxFilePredictor):
    """An ONNX file in ONNX Runtime.

    provider: ``cpu``, ``cuda`` or ``tensorrt``; null is that of the device. Where the runtime would take another one
        than that, which it does without an error, the job is refused.
    others: see :class:`OnnxFilePredictor`
    """

    packages = ("onnxruntime", "onnxruntime-gpu", "onnx", "torchvision")
    precisions = ("fp32", "tf32", "fp16", "bf16", "int8")
    stateless_preprocess = True

    def __init__(self, settings: Settings, provider: str | None = None, **options: Any) -> None:
        self.provider = settings.device.type if provider is None or settings.device.type == "cpu" else provider
        super().__init__(settings, **options)

    @classmethod
    def refuse_device(cls, device: torch.device, options: Mapping[str, Any]) -> None:
        asked = options.get("provider")
        if asked is not None and asked not in PROVIDERS:
            raise UserError(f"model.options.provider={asked}: no such provider; {nearest(str(asked), PROVIDERS)}")
        word = asked or device.type
        if word not in PROVIDERS:
            raise OtherDeviceError(f"device={device}: ONNX Runtime is run on cpu and cuda here; give device=cpu")
        if (word == "cpu") != (device.type == "cpu"):
            right = "cpu" if word == "cpu" else "cuda:0"
            raise UserError(f"model.options.provider={word}: device={device} is not its device; give device={right}")
        there = onnxruntime.get_available_providers()
        if PROVIDERS[word] not in there:
            raise OtherDeviceError(
                f"device={device}: this onnxruntime {onnxruntime.__version__} has no {PROVIDERS[word]} (it has "
                f"{', '.join(there)}); install onnxruntime-gpu in place of onnxruntime, or give device=cpu"
            )

    def computes_in(self, file: OnnxFile) -> tuple[str, ...]:
        if file.precision != "fp32" or self.provider == "cpu":
            return (file.precision,)
        # TensorRT uses TF32 wherever it can.
        return ("tf32",) if self.provider == "tensorrt" else ("fp32", "tf32")

    def load(self, file: OnnxFile, settings: Settings) -> Session:
        self.file = file.path
        return OrtSession(file, self.provider, settings.device, tf32=settings.precision == "tf32")

    def quantise_onnx(self, images: Iterable[np.ndarray], path: Path) -> None:
        from adapters.onnx.quantise import quantise  # a measurement does not need it

        inputs = (self.network_input(self.preprocess([image])).cpu().numpy() for image in images)
        quantise(self.file, self.session.inputs[0].name, inputs, path)


class OrtSession:
    """A session of ONNX Runtime whose input and outputs stay on the device (I/O binding).

    It has torch's number of threads, which ``protocol.threads`` sets. They stop spinning when a run ends: they would
    take the cores from what torch does before and after.
    """

    name = "ONNX Runtime"
    version: str = onnxruntime.__version__
    threads: int | None
    dtype: torch.dtype
    notes: list[str]

    def __init__(self, file: OnnxFile, provider: str, device: torch.device, tf32: bool) -> None:
        self.threads = torch.get_num_threads()
        self._index, self._device = device.index or 0, device
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                str(file.path), settings, providers=self._providers(provider, tf32)
            )
        except Exception as error:  # its exceptions have no base of their own
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"model.weights={file.path}: ONNX Runtime cannot load it: {line[:200]}") from error
        self.provider = _that_runs(self._session.get_providers(), PROVIDERS[provider])
        self.inputs = [_port(each) for each in self._session.get_inputs()]
        self.outputs = [_port(each) for each in self._session.get_outputs()]
        kind = self._session.get_inputs()[0].type
        if kind not in TYPES:
            raise UserError(f"{file.path}: its input is a {kind}, must be one of {', '.join(TYPES)}")
        self.dtype, self._numpy_dtype = TYPES[kind]
        self.notes = [
            f"ONNX Runtime has few {file.precision} operators for a CPU, and computes the others in float32: speed and "
            f"AP are not those of {file.precision} on a GPU"
        ] * (provider == "cpu" and file.precision in ("fp16", "bf16"))

    def _providers(self, provider: str, tf32: bool) -> list[tuple[str, dict[str, str]]]:
        if provider == "cpu":
            return [(PROVIDERS["cpu"], {})]
        cuda = (PROVIDERS["cuda"], {"device_id": str(self._index), "use_tf32": str(int(tf32))})
        if provider == "cuda":
            return [cuda]
        return [(PROVIDERS["tensorrt"], {"device_id": str(self._index)}), cuda]

    def run(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        images = images.contiguous()
        binding = self._session.io_binding()
        binding.bind_input(
            self._session.get_inputs()[0].name,
            self._device.type,
            self._index,
            self._numpy_dtype,
            tuple(images.shape),
            images.data_ptr(),
        )
        for port in self.outputs:
            binding.bind_output(port.name, self._device.type, self._index)
        if self._device.type == "cuda":  # the session has a stream of its own, which knows nothing of torch's
            torch.cuda.current_stream(self._device).synchronize()
        self._session.run_with_iobinding(binding)  # returns when the outputs are there
        values = binding.get_outputs()
        return {port.name: torch.from_dlpack(value) for port, value in zip(self.outputs, values, strict=True)}


def _that_runs(taken: Sequence[str], asked: str) -> str:
    """Give the provider that a session has taken first.

    Raises:
        UserError: it is another one than was asked for.
    """
    if not taken or taken[0] != asked:
        raise UserError(
            f"ONNX Runtime was asked for {asked} and took {taken[0] if taken else 'none'}: the libraries that "
            f"onnxruntime-gpu needs (CUDA, cuDNN, TensorRT) are absent or of other versions; see docs/runtimes.md, or "
            f"give device=cpu"
        )
    return asked


def _port(argument: Any) -> Port:
    shape = tuple(edge if isinstance(edge, int) and not math.isnan(edge) else None for edge in argument.shape)
    return Port(argument.name, shape, "int" in argument.type)
