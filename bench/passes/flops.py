"""Floating-point operations of a model for one image, counted on real images.

``torch.utils.flop_counter`` counts matrix products, convolutions and attention, a multiplication and an addition as two
operations (many papers, and fvcore, count the pair as one). Operators without a formula there, such as RoIAlign, NMS,
deformable attention's sampling and interpolation, are not in it.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.data.images import ImageRecord, read_images
from bench.passes.base import Context, RunsTheModel
from bench.predictor import Predictor
from bench.schema.result import FlopsResult

IMAGES = 5


class FlopsPass(RunsTheModel):
    """Counts the operations of the ``model`` boundary over images spread through the dataset, each a batch of its own.

    It is a figure beside the others, which must not cost them: what goes wrong in it is a note.
    """

    def measure(self, context: Context) -> FlopsResult | None:
        """Mean and standard deviation over :data:`IMAGES` images; None for a model that computes outside of torch, of
        which nothing can be counted."""
        predictor = context.runner.predictor
        try:
            counts = [float(count_image(predictor, image)) for image in _spread(context.dataset.images, IMAGES)]
        except Exception as error:
            traceback.print_exc()
            reason = " ".join(str(error).split())[:200]
            context.note(f"floating-point operations could not be counted: {reason}")
            return None
        if not any(counts):
            return None
        return FlopsResult(mean=statistics.fmean(counts), std=statistics.pstdev(counts), images=len(counts))


def count_image(predictor: Predictor, record: ImageRecord) -> int:
    """Operations for one image."""
    # It brings triton along, half a second that a worker should not take before its first image.
    from torch.utils.flop_counter import FlopCounterMode

    fast_attention = torch.backends.mha.get_fastpath_enabled()
    # The fused kernels have no formula; the plain ones compute the same from what has.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _uncompiled():
            batch = predictor.preprocess(read_images([record]))
            with FlopCounterMode(display=False) as counter:
                predictor.postprocess(predictor.forward(batch))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
    return counter.get_total_flops()


def _uncompiled() -> contextlib.AbstractContextManager[object]:
    """What is compiled runs uncompiled: the counter sees into no compiled kernel."""
    if "torch._dynamo" not in sys.modules:
        return _without_the_compiler()
    set_stance = getattr(torch.compiler, "set_stance", None)  # from torch 2.6 on
    return set_stance("force_eager") if set_stance else contextlib.nullcontext()


@contextlib.contextmanager
def _without_the_compiler() -> Iterator[None]:
    """Nothing is compiled: the counter works without ``torch._dynamo``, which torch would import, for 2 s, only to keep
    what the counter does from being compiled."""
    from torch.utils import flop_counter

    mode: Any = getattr(flop_counter, "_FlopCounterMode", None)
    wrapped = getattr(mode, "__torch_dispatch__", None)
    plain = getattr(wrapped, "__wrapped__", None)
    if plain is None:
        yield
        return
    mode.__torch_dispatch__ = plain
    try:
        yield
    finally:
        mode.__torch_dispatch__ = wrapped


def _spread(records: Sequence[ImageRecord], number: int) -> list[ImageRecord]:
    """So many records, evenly over the whole."""
    number = min(number, len(records))
    return [records[index * len(records) // number] for index in range(number)]


PASS = FlopsPass()
