"""What ``torch.compile`` asks of a measurement: every shape of input is compiled before anything is measured."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bench.data.images import ImageRecord, batches, read_images
from bench.device import compiling
from bench.passes.laps import batches_of_a_lap
from bench.predictor import Predictor

if TYPE_CHECKING:  # it imports torch, which a worker that replays results may do without
    from bench.passes.runner import Runner

Shape = tuple[int, int] | tuple[tuple[int, int], ...]
"""Height and width of the network's input; of each image of a batch where the class does not tell its input."""

CALLS = {"default": 1}
"""How often a batch of each shape is run; CUDA graphs are recorded at the third call."""

_CALLS_OF_GRAPHS = 3


class Compiled:
    """The compiled parts of a model in this process, and what they were compiled for.

    mode: of ``torch.compile``
    batches: a batch of each shape that a measurement may meet
    """

    def __init__(self, mode: str, batches: Mapping[Shape, Sequence[ImageRecord]]) -> None:
        self._mode, self._batches = mode, batches
        self._at_first: int | None = None
        self._every_shape = False

    def first_call_done(self) -> None:
        """Take what was compiled by now for what the first call needs; it is no recompilation."""
        if self._at_first is None:
            self._at_first = compiling.frames()

    @property
    def recompilations(self) -> int:
        """Give how often code was compiled since the first call."""
        return 0 if self._at_first is None else compiling.frames() - self._at_first

    def compile_for(self, records: Sequence[ImageRecord], runner: Runner) -> None:
        """Run a batch as often as it takes until nothing more is compiled or recorded for its shape."""
        for _ in range(CALLS.get(self._mode, _CALLS_OF_GRAPHS)):
            runner.model(runner.preprocess(read_images(records)))

    def warm_every_shape(self, runner: Runner, progress: Callable[[str, float, float, int], None]) -> None:
        """Run a batch of each shape, once in a process, however long compiling takes.

        A shape that is compiled while the clock runs would spoil the row.
        """
        if self._every_shape:
            return
        for done, records in enumerate(self._batches.values(), 1):
            self.compile_for(records, runner)
            self.first_call_done()
            progress("compile", done, len(self._batches), len(records))
        self._every_shape = True


def batches_by_shape(
    predictor: Predictor, images: Sequence[ImageRecord], size: int, timed: Sequence[ImageRecord] = ()
) -> dict[Shape, Sequence[ImageRecord]]:
    """Give a batch for each shape of input that a cycle through some images gives, in batches of ``size``.

    timed: those of the images that are timed, which have a cycle of their own

    A class that says ``stateless_preprocess`` and tells its ``input_size`` is asked with black images. Of any other
    class, images of other sizes count as another shape.
    """
    of_sizes: dict[tuple[tuple[int, int], ...], Sequence[ImageRecord]] = {}
    once_round = (
        itertools.islice(batches(images, size), batches_of_a_lap(len(images), size))
        for images in (images, timed)
        if images
    )
    for records in itertools.chain.from_iterable(once_round):
        of_sizes.setdefault(tuple((record.height, record.width) for record in records), records)
    of_shapes: dict[Shape, Sequence[ImageRecord]] = {}
    for sizes, batch in of_sizes.items():
        of_shapes.setdefault(_input_shape(predictor, sizes) or sizes, batch)
    return of_shapes


def _input_shape(predictor: Predictor, sizes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    if not predictor.stateless_preprocess:
        return None
    return predictor.input_size(predictor.preprocess([np.zeros((*size, 3), np.uint8) for size in sizes]))
