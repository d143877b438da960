"""Test that weights stored in half precision change neither the interface nor the precision that a file computes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from adapters.onnx.file import read_onnx
from adapters.onnx.halves import halve, main

KERNEL = np.array([[0.1, 70000.0], [1.5, -2.0]], dtype=np.float32)
"""70000 is more than float16 holds."""


def network(kernel: np.ndarray) -> onnx.ModelProto:
    """Give y = x @ kernel + (0.1, 0.2)."""
    node = helper.make_node("Gemm", ["x", "kernel", "bias"], ["y"])
    bias = numpy_helper.from_array(np.array([0.1, 0.2], dtype=np.float32), "bias")
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2]) for name in "xy")
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(kernel, "kernel"), bias])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_matrices_are_rounded_to_half_precision_and_the_network_computes_in_float32(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    kernel = np.where(KERNEL > 1000, np.float32(0.3), KERNEL)
    path = tmp_path / "f.onnx"
    onnx.save(network(kernel), str(path))
    assert main([str(path)]) == 0
    stored = {tensor.name: tensor.data_type for tensor in onnx.load(str(path)).graph.initializer}
    assert stored == {"kernel_stored_in_fp16": onnx.TensorProto.FLOAT16, "bias": onnx.TensorProto.FLOAT}
    assert read_onnx(path).precision == "fp32"
    x = np.array([[1.0, 0.0], [1000.0, 1.0]], dtype=np.float32)
    [y] = ort.InferenceSession(str(path)).run(None, {"x": x})
    expected = x @ kernel.astype(np.float16).astype(np.float32) + np.array([0.1, 0.2], dtype=np.float32)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_values_beyond_half_precision_stay_as_they_are() -> None:
    model = network(KERNEL)
    halve(model)
    assert model == network(KERNEL)


def test_no_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "f.onnx")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'f.onnx'}: no such file; give the path of an ONNX file\n"
