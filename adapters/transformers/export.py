"""Export networks of transformers to ONNX, up to their raw outputs: Mask2Former and RF-DETR."""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from adapters.onnx.file import describe
from adapters.transformers.families import FAMILIES
from adapters.transformers.inputs import Inputs

OF_MASK2FORMER = {"class_queries_logits": "class_logits", "masks_queries_logits": "mask_logits"}
"""The outputs of the file by the library's names."""

OF_RF_DETR = {"pred_boxes": "dets", "logits": "labels", "pred_masks": "masks"}
"""The same; the names in the file are those of the exporter of RF-DETR's makers (``rfdetr/export``)."""

LARGEST_BATCH = 64


class _Network(torch.nn.Module):
    """What ``forward`` of the predictor computes of normalised images (B, 3, H, W)."""

    def __init__(self, module: PreTrainedModel, outputs: Sequence[str]) -> None:
        super().__init__()
        self.module, self._outputs = module, tuple(outputs)

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # Mask2Former reads no mask of the padding, and RF-DETR has no padding, so none is an input.
        output = self.module(pixel_values=pixel_values)
        return tuple(output[name] for name in self._outputs)


def mask2former(module: PreTrainedModel, labels: Sequence[str], inputs: Inputs, path: Path) -> None:
    """Write the network for batches of squares, into which every image fits, wide or tall."""
    edge = math.ceil(inputs.longest_edge / inputs.stride) * inputs.stride
    _write(module, OF_MASK2FORMER, edge, path)
    size = [inputs.shortest_edge, inputs.longest_edge]
    _describe(path, "queries", labels, inputs, resize="fit", size=size, rounding="shorter")


def rf_detr(module: PreTrainedModel, labels: Sequence[str | None], inputs: Inputs, path: Path) -> None:
    """Write the network for batches of squares, to which every image is stretched.

    labels: the class of each logit, None for those that are of no class
    """
    with _positions_of(module, inputs.longest_edge):
        _write(module, OF_RF_DETR, inputs.longest_edge, path)
    _describe(path, "rfdetr", labels, inputs, resize="stretch", size=[inputs.longest_edge] * 2)


@contextlib.contextmanager
def _positions_of(module: PreTrainedModel, edge: int) -> Iterator[None]:
    """Let RF-DETR have the position embeddings of this edge, in pixels, within the block.

    It scales those of its configuration's edge in every call, bicubic with antialiasing. OpenVINO 2026.4 scales without
    the antialiasing and says nothing, so such an operator must not be in the file.
    """
    embeddings = module.get_submodule(FAMILIES["rf_detr"].encoder).get_submodule("embeddings")
    own = embeddings.position_embeddings
    patches = torch.zeros(1, 1 + (edge // embeddings.patch_size) ** 2, own.shape[-1], device=own.device)
    with torch.no_grad():
        embeddings.position_embeddings = torch.nn.Parameter(embeddings.interpolate_pos_encoding(patches, edge, edge))
    try:
        yield
    finally:
        embeddings.position_embeddings = own


def _write(module: PreTrainedModel, outputs: dict[str, str], edge: int, path: Path) -> None:
    """Write the network for squares of one edge, in pixels, a multiple of what the network takes.

    The exporter makes constants of the sizes of the feature maps: a file with axes of any height and width would
    compute nonsense for other sizes, without an error.
    """
    images = torch.rand(2, 3, edge, edge, device=next(module.parameters()).device)
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # it tells each constant that it leaves
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):  # and each of its steps
        program = torch.onnx.export(
            _Network(module, list(outputs)).eval(),
            (images,),
            dynamo=True,
            input_names=["pixel_values"],
            output_names=list(outputs.values()),
            dynamic_shapes={"pixel_values": {0: batch}},
        )
    assert program is not None
    program.save(str(path))


def _describe(path: Path, layout: str, labels: Sequence[str | None], inputs: Inputs, **preprocessing: Any) -> None:
    normalisation = {"mean": list(inputs.mean), "std": list(inputs.std)}
    describe(path, layout, labels, antialias=True, **normalisation, **preprocessing)
