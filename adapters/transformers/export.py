"""Export Mask2Former of transformers to ONNX: the network up to its class and mask logits."""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import Mask2FormerForUniversalSegmentation

from adapters.onnx.file import describe

OUTPUTS = ("class_logits", "mask_logits")

LARGEST_BATCH = 64


class _Network(torch.nn.Module):
    """What ``Mask2FormerPredictor.forward`` computes of normalised, padded images (B, 3, H, W)."""

    def __init__(self, module: Mask2FormerForUniversalSegmentation) -> None:
        super().__init__()
        self.module = module

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # The library reads no mask of the padding, so none is an input.
        output = self.module(pixel_values=pixel_values)
        return output.class_queries_logits, output.masks_queries_logits


def export(
    module: Mask2FormerForUniversalSegmentation,
    labels: Sequence[str],
    size: tuple[int, int],
    stride: int,
    normalisation: dict[str, list[float]],
    path: Path,
) -> None:
    """Write the network for batches of squares, into which every image fits, wide or tall.

    size: shorter and longer edge of the resize, in pixels
    stride: the square's edge is a multiple of it
    normalisation: ``mean`` and ``std`` of channels of 0 to 1

    The exporter makes constants of the sizes of the feature maps: a file with axes of any height and width would
    compute nonsense for other sizes, without an error.
    """
    edge = math.ceil(size[1] / stride) * stride
    images = torch.rand(2, 3, edge, edge, device=next(module.parameters()).device)
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)  # it tells each constant that it leaves
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):  # and each of its steps
        program = torch.onnx.export(
            _Network(module).eval(),
            (images,),
            dynamo=True,
            input_names=["pixel_values"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"pixel_values": {0: batch}},
        )
    assert program is not None
    program.save(str(path))
    describe(
        path, "queries", labels, resize="fit", size=list(size), antialias=True, rounding="shorter", **normalisation
    )
