"""Tell in which type the operators of an ONNX file compute that do nearly all of a network's work."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import onnx
from onnx import TensorProto, inliner, shape_inference

HEAVY = {
    **dict.fromkeys(("Conv", "ConvTranspose", "DeformConv", "MatMul", "Gemm", "Einsum", "LSTM", "GRU"), (0, 1)),
    **dict.fromkeys(("FusedConv", "FusedMatMul", "FusedGemm", "Attention"), (0, 1)),
    "MatMulNBits": (0,),  # its weights are of few bits, and it computes in the type of the activations
}
"""Operators that decide, with the places of the inputs that they multiply. Those of the second line ONNX Runtime
makes."""

INTEGER = (
    "QLinearConv",
    "QLinearMatMul",
    "QGemm",
    "ConvInteger",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "QAttention",
)
"""Operators that multiply integers of 8 bits."""

SAME_VALUES = ("Reshape", "Transpose", "Identity", "Squeeze", "Unsqueeze", "Flatten")
"""Operators that may stand between a DequantizeLinear and the operator that is quantised with it."""

WORDS = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.DOUBLE: "fp64",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
}
RISING = ("int8", "bf16", "fp16", "fp32")
"""The words of ``precision=`` that a file can have, the lowest first."""

MOST_VALUES = 1000
"""Larger tensors are weights: no shape is read from them."""


def told(model: onnx.ModelProto) -> tuple[str, str | None]:
    """Give the lowest type in which a heavy operator computes, and a note where others compute in another one.

    The type may be none of :data:`RISING`, which nobody can ask for. An operator between DequantizeLinear computes in
    int8 where both of its inputs are of 8 bits. Weights are forgotten: ``model`` is of no other use after this.
    """
    every = list(_each(_inferred(model)))
    if not every:
        return _of_the_input(model), None
    # Of operators behind one that onnx does not know, nothing is told; they are taken to be as the others.
    counted = Counter(word for word in every if word is not None)
    if not counted:
        return "a type that it does not tell", None
    strange = [word for word in counted if word not in RISING]
    lowest = next((word for word in RISING if word in counted), None)
    if lowest is None or any(word != "fp64" for word in strange):
        return strange[0], None
    if len(counted) == 1:
        return lowest, None
    total, others = counted.total(), [f"{counted[word]} in {word}" for word in sorted(counted) if word != lowest]
    return lowest, f"{counted[lowest]} of the file's {total} convolutions and matrix products compute in {lowest}, " + (
        " and ".join(others)
    )


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give the network with the types of its values, without local functions."""
    for graph in graphs(model.graph):
        for tensor in graph.initializer:
            if math.prod(tensor.dims) > MOST_VALUES and tensor.data_type in WORDS:
                for values in ("raw_data", "float_data", "int32_data", "double_data"):
                    tensor.ClearField(values)
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        return shape_inference.infer_shapes(model)
    except Exception:  # an operator that onnx does not know as the runtime does; its message is no help here
        return model


def _each(model: onnx.ModelProto) -> Iterator[str | None]:
    """Give the type of each heavy operator, None where it is not known."""
    types: dict[str, int] = {}
    makers: dict[str, onnx.NodeProto] = {}
    every = list(graphs(model.graph))
    for graph in every:
        types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.type.tensor_type.elem_type:
                types[value.name] = value.type.tensor_type.elem_type
        for node in graph.node:
            makers |= dict.fromkeys(node.output, node)
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                types[node.output[0]] = node.attribute[0].t.data_type
            elif node.op_type == "Cast":
                types[node.output[0]] = next(each.i for each in node.attribute if each.name == "to")
    for graph in every:
        for node in graph.node:
            if node.op_type in INTEGER:
                yield "int8"
            elif node.op_type in HEAVY:
                yield _word(node, types, makers)


def _word(node: onnx.NodeProto, types: dict[str, int], makers: dict[str, onnx.NodeProto]) -> str | None:
    """Give the type in which one heavy operator computes; None where nothing tells it."""
    multiplied = [node.input[place] for place in HEAVY[node.op_type] if place < len(node.input)]
    stored = [_stored(name, types, makers) for name in multiplied]
    kinds: Sequence[int | None] = stored
    if None in stored:  # weights alone are stored in integers: it computes in what they are made
        kinds = [types.get(name) for name in (*multiplied, *node.output)]
    known = [kind for kind in kinds if kind is not None]
    # Where the operator has two types, such as fp8 beside int8, the one that has no word decides.
    return max((WORDS.get(kind, _name(kind)) for kind in known), key=lambda word: word not in RISING, default=None)


def _stored(name: str, types: dict[str, int], makers: dict[str, onnx.NodeProto]) -> int | None:
    """Give the type of the integers that a value is dequantised from; None where it is not."""
    maker = makers.get(name)
    while maker is not None and maker.op_type in SAME_VALUES:
        maker = makers.get(maker.input[0])
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    source = maker.input[0]
    quantiser = makers.get(source)
    # Of no zero point, QuantizeLinear makes uint8.
    assumed = TensorProto.UINT8 if quantiser is not None and quantiser.op_type.endswith("QuantizeLinear") else None
    return types.get(source) or types.get(maker.input[2] if len(maker.input) > 2 else "") or assumed


def _of_the_input(model: onnx.ModelProto) -> str:
    """Give the type of a network without any heavy operator."""
    kinds = [value.type.tensor_type.elem_type for value in model.graph.input]
    return next((WORDS[kind] for kind in kinds if WORDS.get(kind) in RISING[1:]), "fp32")


def _name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Give a graph and those inside its nodes, such as the branches of an ``If``."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def reads_rounded(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Give the RoIAlign of a network, which computes in float32, whose features were rounded to 8 bits just before."""
    made_by = nodes_by_output(model)
    aligns = (node for node in model.graph.node if node.op_type == "RoiAlign" and node.input[0] in made_by)
    return [node for node in aligns if made_by[node.input[0]].op_type == "DequantizeLinear"]


def antialiases(model: onnx.ModelProto) -> bool:
    """Tell whether an operator of a network scales values with antialiasing."""
    scaling = (node for graph in graphs(model.graph) for node in graph.node if node.op_type == "Resize")
    return any(each.name == "antialias" and each.i == 1 for node in scaling for each in node.attribute)


def nodes_by_output(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Give the node that makes each value."""
    return {output: node for node in model.graph.node for output in node.output}
