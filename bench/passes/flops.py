"""Floating-point operations of a model for one image, counted on real images.

``torch.utils.flop_counter`` counts matrix products, convolutions and attention, a multiplication and an addition as two
operations (many papers, and fvcore, count the pair as one). It does not count operators without a formula,
such as RoIAlign, NMS, the sampling of deformable attention and interpolation.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.data.images import ImageRecord, read_images
from bench.passes.base import Context, RunsTheModel
from bench.predictor import Predictor
from bench.schema.parts.costs import FlopsResult

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

IMAGES = 5


class FlopsPass(RunsTheModel):
    """Counts the operations of the ``model`` boundary for images spread through the dataset, in batches of one.

    They are counted without autocast, so in float32 (TF32 where the row allows it) whatever the row's precision. Rows
    of one study that count the same count once (:mod:`bench.jobs.once.flops`): a row counts its first image, and takes
    the figure of the row before it where that has counted exactly as many operations for the same image.

    An error in this pass becomes a note of the row, so that the row keeps its other figures.
    """

    def measure(self, context: Context) -> FlopsResult | None:
        """Give mean and standard deviation over :data:`IMAGES` images; None where no operation of torch is counted.

        Raises:
            ValueError: the first batch breaks a promise of the predictor's interface.
        """
        counts: list[int] = []
        records = _spread(context.dataset.images, IMAGES)
        for record in records:
            try:
                count, outputs = _counted(context.runner.predictor, record)
            except Exception as error:
                traceback.print_exc()
                reason = " ".join(str(error).split())[:200]
                context.note(f"floating-point operations could not be counted: {reason}")
                return None
            if not counts:
                context.validate([record], outputs)
                known = context.counted_before()
                if known is not None and known.images == len(records) and known.counts[0] == count:
                    return known
            counts.append(count)
        if not any(counts):
            return None
        return FlopsResult(statistics.fmean(counts), statistics.pstdev(counts), len(counts), counts)


def count_image(predictor: Predictor, record: ImageRecord) -> int:
    """Count the operations for one image."""
    return _counted(predictor, record)[0]


def _counted(predictor: Predictor, record: ImageRecord) -> tuple[int, Any]:
    """Count the operations for one image; give also what ``postprocess`` gave."""
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    # The fused kernels have no formula; the plain operators that compute the same have one.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _uncompiled():
            batch = predictor.preprocess(read_images([record]))
            with _counter() as counter:
                outputs = predictor.postprocess(predictor.forward(batch))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
    return counter.get_total_flops(), outputs


def _counter() -> FlopCounterMode:
    """Give a counter of all operations within its block, whichever module does them."""
    # This import loads triton, half a second that a worker should not take before its first image.
    from torch.utils.flop_counter import FlopCounterMode
    from torch.utils.module_tracker import ModuleTracker

    class WholeTracker(ModuleTracker):
        """Asks no module for its part, as torch's own does.

        Torch's puts hooks for the backward pass on what a module is given. It fails where that is a view of a parameter
        without a gradient, as the queries of RF-DETR and OneFormer are.
        """

        def __enter__(self) -> WholeTracker:
            return self

        def __exit__(self, *args: object) -> None:
            pass

    counter = FlopCounterMode(display=False)
    counter.mod_tracker = WholeTracker()
    return counter


def _uncompiled() -> contextlib.AbstractContextManager[object]:
    """Run compiled modules uncompiled within the block: the counter cannot look into a compiled kernel."""
    if "torch._dynamo" not in sys.modules:
        return _without_the_compiler()
    set_stance = getattr(torch.compiler, "set_stance", None)  # from torch 2.6 on
    return set_stance("force_eager") if set_stance else contextlib.nullcontext()


@contextlib.contextmanager
def _without_the_compiler() -> Iterator[None]:
    """Let the counter work without ``torch._dynamo`` within the block.

    torch would import that package, which takes 2 s, only to keep the counter itself from being compiled.
    """
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
    """Pick ``number`` records, spread evenly over all."""
    number = min(number, len(records))
    return [records[index * len(records) // number] for index in range(number)]


PASS = FlopsPass()
