"""Quantise an ONNX file to int8 by ONNX Runtime's static quantisation."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from adapters.onnx.precision import nodes_by_output, reads_rounded

QUANTISED_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that are quantised: those with weights. The others compute in float32, among them the NMS and RoIAlign."""


class _Images(CalibrationDataReader):
    """Gives the network's input of one image after the other, under the name of the input."""

    def __init__(self, name: str, inputs: Iterator[np.ndarray]) -> None:
        self._name, self._inputs = name, inputs

    def get_next(self) -> dict[str, np.ndarray] | None:
        values = next(self._inputs, None)
        return None if values is None else {self._name: values}


def quantise(file: Path, input_name: str, inputs: Iterator[np.ndarray], path: Path) -> None:
    """Write an int8 file, with the metadata of the file that it is made of.

    inputs: the network's input of each image for the calibration, which takes the least and the largest value that
        each activation has in any of them

    Weights have a scale for each output channel, activations one scale each; QuantizeLinear and DequantizeLinear stand
    around the operators, which both runtimes then fuse. RoIAlign reads what its convolution computed, not what was
    rounded for the next one: it computes in float32, and OpenVINO 2026.4 gives it wrong features of rounded values.
    """
    logging.getLogger().addFilter(_without_advice)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(
                str(file),
                str(path),
                _Images(input_name, inputs),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED_OPERATORS),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
    finally:
        logging.getLogger().removeFilter(_without_advice)
    _finish(file, path)


def _without_advice(record: logging.LogRecord) -> bool:
    """Leave out the advice to pre-process the file, which cannot follow the shapes behind an NMS."""
    return "pre-processing" not in record.getMessage()


def _finish(source: Path, target: Path) -> None:
    written = onnx.load(str(target))
    made_by = nodes_by_output(written)
    for align in reads_rounded(written):
        align.input[0] = made_by[made_by[align.input[0]].input[0]].input[0]
    del written.metadata_props[:]
    written.metadata_props.extend(onnx.load(str(source)).metadata_props)
    onnx.save(written, str(target))
