"""Tests that a file's precision is the type in which its convolutions and matrix products compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from adapters.onnx.file import read_onnx
from adapters.onnx.precision import reads_rounded
from bench.errors import UserError

F32, F16, BF16, F64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE
TYPES = {np.float32: F32, np.float16: F16, np.float64: F64}


def saved(path: Path, nodes: list[Any], constants: dict[str, np.ndarray], last: int, **more: Any) -> Path:
    """Write a network from ``x``, float32 (1, 3, 8, 8), to ``y`` of a type."""
    x = helper.make_tensor_value_info("x", F32, (1, 3, 8, 8))
    y = helper.make_tensor_value_info("y", last, None)
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9, **more)
    onnx.save(model, str(path))
    return path


def weights(kind: Any = np.float32) -> np.ndarray:
    return np.ones((3, 3, 1, 1), kind)


def cast(source: str, target: str, to: int) -> Any:
    return helper.make_node("Cast", [source], [target], to=to)


def conv(source: str, weight: str, target: str) -> Any:
    return helper.make_node("Conv", [source, weight], [target])


@pytest.mark.parametrize(
    ("stored", "to", "word"),
    [
        (np.float32, F16, "fp16"),  # stored in fp32, computed in fp16
        (np.float16, F32, "fp32"),
        (np.float32, BF16, "bf16"),
        (np.float32, F32, "fp32"),
    ],
)
def test_a_cast_between_weight_and_operator_decides(tmp_path: Path, stored: Any, to: int, word: str) -> None:
    nodes = [cast("w", "cast_w", to), cast("x", "cast_x", to), conv("cast_x", "cast_w", "y")]
    assert read_onnx(saved(tmp_path / "f.onnx", nodes, {"w": weights(stored)}, to)).precision == word


def test_large_constants_decide_nothing(tmp_path: Path) -> None:
    nodes = [
        cast("x", "half", F16),
        helper.make_node("Relu", ["half"], ["kept"]),
        conv("kept", "w", "convolved"),
        cast("convolved", "wide", F32),
        helper.make_node("Add", ["wide", "large"], ["y"]),
    ]
    constants = {"w": weights(np.float16), "large": np.ones((100, 3, 8, 8), np.float32)}
    assert read_onnx(saved(tmp_path / "f.onnx", nodes, constants, F32)).precision == "fp16"


def test_of_two_types_the_lower_is_told_with_a_note(tmp_path: Path) -> None:
    nodes = [conv("x", "w", "a"), conv("a", "w", "b"), cast("b", "half", F16), conv("half", "v", "y")]
    path = saved(tmp_path / "f.onnx", nodes, {"w": weights(), "v": weights(np.float16)}, F16)
    file = read_onnx(path)
    assert file.precision == "fp16"
    assert file.notes == ("1 of the file's 3 convolutions and matrix products compute in fp16, 2 in fp32",)


def test_an_operator_of_which_only_the_activations_are_known(tmp_path: Path) -> None:
    """A product of two activations, in a branch and inside a function of the file."""
    body = [helper.make_node("MatMul", ["p", "p"], ["q"])]
    function = helper.make_function("own", "Square", ["p"], ["q"], body, [helper.make_opsetid("", 19)])
    nodes = [cast("x", "half", F16), helper.make_node("Square", ["half"], ["y"], domain="own")]
    path = saved(tmp_path / "f.onnx", nodes, {}, F16, functions=[function])
    model = onnx.load(str(path))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, str(path))
    assert read_onnx(path).precision == "fp16"
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["half", "half"], ["z"])], "b", [], [helper.make_tensor_value_info("z", F16, None)]
    )
    nodes = [cast("x", "half", F16), helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
    path = saved(tmp_path / "f.onnx", nodes, {"c": np.array(True)}, F16)
    assert read_onnx(path).precision == "fp16"


def test_operators_behind_one_that_is_not_known_are_as_the_others(tmp_path: Path) -> None:
    nodes = [helper.make_node("Custom", ["x"], ["a"], domain="own"), helper.make_node("MatMul", ["a", "a"], ["b"])]
    behind = [*nodes, helper.make_node("Custom", ["b"], ["y"], domain="own")]
    with pytest.raises(UserError, match="compute in a type that it does not tell"):
        read_onnx(saved(tmp_path / "f.onnx", behind, {}, F32))
    before = [cast("x", "half", F16), conv("half", "w", "c"), cast("c", "d", F32), *behind]
    file = read_onnx(saved(tmp_path / "f.onnx", before, {"w": weights(np.float16)}, F32))
    assert (file.precision, file.notes) == ("fp16", ())


def quantised(activations: bool, per_weight: Any = np.int8) -> tuple[list[Any], dict[str, np.ndarray]]:
    constants = {"s": np.array(0.1, np.float32), "zero": np.array(0, np.uint8), "w": weights(per_weight)}
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["float_w"])]
    if activations:
        nodes.append(helper.make_node("QuantizeLinear", ["x", "s", "zero"], ["q"]))
        nodes.append(helper.make_node("DequantizeLinear", ["q", "s", "zero"], ["dq"]))
    return [*nodes, conv("dq" if activations else "x", "float_w", "y")], constants


def test_int8_is_where_both_factors_are_of_8_bits(tmp_path: Path) -> None:
    path = saved(tmp_path / "f.onnx", *quantised(True), F32)
    assert (read_onnx(path).precision, read_onnx(path).notes) == ("int8", ())
    # Weights alone are stored so: the product is one of float32.
    assert read_onnx(saved(tmp_path / "w.onnx", *quantised(False), F32)).precision == "fp32"
    nodes, constants = quantised(False)
    beside = [helper.make_node("QuantizeLinear", ["x", "s"], ["q"]), *nodes]
    assert read_onnx(saved(tmp_path / "b.onnx", beside, constants, F32)).precision == "fp32"


def test_integer_operators_are_int8(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "point"]),
        helper.make_node("ConvInteger", ["q", "w", "point"], ["y"]),
    ]
    path = saved(tmp_path / "f.onnx", nodes, {"w": weights(np.uint8)}, TensorProto.INT32)
    assert read_onnx(path).precision == "int8"


def test_a_type_that_no_word_names_is_refused_with_a_remedy_that_exists(tmp_path: Path) -> None:
    nodes = [cast("x", "wide", F64), conv("wide", "w", "y")]
    path = saved(tmp_path / "f.onnx", nodes, {"w": weights(np.float64)}, F64)
    with pytest.raises(UserError, match=r"compute in fp64, and maskbench measures fp32, fp16, bf16, int8; export it"):
        read_onnx(path)


def test_large_weights_are_not_needed_to_tell(tmp_path: Path) -> None:
    big = np.ones((64, 3, 8, 8), np.float32)  # 12,288 values
    assert read_onnx(saved(tmp_path / "f.onnx", [conv("x", "w", "y")], {"w": big}, F32)).precision == "fp32"


def align(features: str, output: str) -> Any:
    return helper.make_node("RoiAlign", [features, "rois", "images"], [output], output_height=2, output_width=2)


def test_openvino_refuses_a_roi_align_of_rounded_features(tmp_path: Path) -> None:
    """It gave the demo's int8 file a mask AP of 29.4, and ONNX Runtime 59.2, without a word of either."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    from adapters.openvino.predictor import OpenVinoSession

    nodes, constants = quantised(True)
    constants |= {"rois": np.zeros((1, 4), np.float32), "images": np.zeros(1, np.int64)}
    rounded = [
        helper.make_node("QuantizeLinear", ["y", "s", "zero"], ["q2"]),
        helper.make_node("DequantizeLinear", ["q2", "s", "zero"], ["dq2"]),
    ]
    wrong = saved(tmp_path / "wrong.onnx", [*nodes, *rounded, align("dq2", "z")], constants, F32)
    with pytest.raises(UserError, match=r"its RoIAlign reads features rounded to int8.*export it with --int8 anew"):
        OpenVinoSession(read_onnx(wrong))
    right = onnx.load(str(saved(tmp_path / "right.onnx", [*nodes, *rounded, align("y", "z")], constants, F32)))
    assert reads_rounded(right) == []


def test_openvino_refuses_a_resize_with_antialiasing(tmp_path: Path) -> None:
    """A row of 0, 0, 0, 8, 0, 0, 0, 0 halved with antialiasing is 0, 3, 1, 0, and OpenVINO gave 0, 4, 0, 0."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    from adapters.openvino.predictor import OpenVinoSession

    def network(name: str, antialias: int) -> Path:
        how = {"mode": "linear", "antialias": antialias, "exclude_outside": 1}
        node = helper.make_node("Resize", ["x", "", "", "edges"], ["y"], **how)
        return saved(tmp_path / name, [node], {"edges": np.array([1, 3, 8, 4])}, F32)

    with pytest.raises(UserError, match=r"a Resize of it asks for antialiasing, which OpenVINO leaves out"):
        OpenVinoSession(read_onnx(network("wrong.onnx", 1)))
    assert OpenVinoSession(read_onnx(network("right.onnx", 0))).outputs
