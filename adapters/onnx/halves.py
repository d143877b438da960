"""Store the weights of an ONNX file in half precision, so that the file is half as large and computes as before.

    python -m adapters.onnx.halves FILE.onnx

A ``Cast`` before each use makes them float32 again, which a runtime does once, when it loads the file. Their rounding
is the only change.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

_STORED = "_stored_in_fp16"


def main(arguments: Sequence[str] | None = None) -> int:
    """Change a file in place; give the exit status: 0, or 2 for no such file."""
    parser = argparse.ArgumentParser(prog="python -m adapters.onnx.halves", description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE.onnx")
    file: Path = parser.parse_args(arguments).file
    if not file.is_file():
        print(f"error: {file}: no such file; give the path of an ONNX file", file=sys.stderr)
        return 2
    model = onnx.load(str(file))
    halve(model)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".maskbench-halves-") as folder:
        whole = Path(folder, file.name)
        onnx.save(model, str(whole))
        os.replace(whole, file)
    return 0


def halve(model: onnx.ModelProto) -> None:
    """Store every float32 matrix and kernel of the main graph in float16, in place; vectors stay as they are."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == onnx.TensorProto.FLOAT else None
        if values is None or values.ndim < 2 or not np.abs(values).max(initial=0) < np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + _STORED))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


if __name__ == "__main__":
    sys.exit(main())
