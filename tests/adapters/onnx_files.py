"""Small ONNX files for tests: networks that give constant outputs, whatever the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]


def constant_network(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    image: Shape = ("batch", 3, 64, 64),
    shapes: Mapping[str, Shape] | None = None,
    metadata: Mapping[str, str] | None = None,
    weight: type = np.float32,
) -> Path:
    """Write a file that gives these outputs.

    shapes: what the file says of the shape of an output, where that is not the shape of its values
    weight: type of the weights of a convolution that runs beside them
    """
    kinds = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("int64"): TensorProto.INT64}
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values, f"{name}_values"))
        for name, values in outputs.items()
    ]
    kernel = numpy_helper.from_array(np.ones((1, 3, 1, 1), weight), "kernel")
    tensor = TensorProto.FLOAT if weight is np.float32 else TensorProto.FLOAT16
    batched = len(image) == 4
    nodes.append(helper.make_node("Conv" if batched else "Mul", ["images", "kernel"], ["sums"]))
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", tensor, image)],
        [
            helper.make_tensor_value_info(name, kinds[values.dtype], (shapes or {}).get(name, values.shape))
            for name, values in outputs.items()
        ],
        [kernel],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, str(path))
    return path
