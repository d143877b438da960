"""Refuses a job whose model must have inputs of one shape, and has not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.device import compiling
from bench.errors import UserError
from bench.passes.compiled import Shape
from bench.predictor import Predictor, TorchPredictor
from bench.schema.config import ONE_SHAPE_COMPILES, BenchConfig


def wants_one_shape(config: BenchConfig) -> bool:
    """Tell whether all inputs of a job must have one shape."""
    return config.protocol.pad_to or config.compile in ONE_SHAPE_COMPILES


def refuse_other_shapes(config: BenchConfig, predictor: Predictor, shapes: Mapping[Shape, Any]) -> None:
    """Raise a UserError where a job's inputs must have one shape, and they have several.

    shapes: those of the inputs, as :func:`bench.passes.compiled.batches_by_shape` gives them
    """
    if len(shapes) < 2 or not wants_one_shape(config):
        return
    name = type(predictor).__name__
    if config.protocol.pad_to:
        raise UserError(
            f"protocol.pad_to: {name} says pads_inputs, and its inputs have {len(shapes)} shapes, first "
            f"{_words(next(iter(shapes)))}; pad every input to settings.pad_to in forward, and tell it in input_size"
        )
    if not isinstance(predictor, TorchPredictor) or not compiling.parts_of(predictor):
        return  # compiling says what is wrong with it
    other = "compile=default"
    if predictor.pads_inputs:
        other = f"input_size={_size(config, shapes)} protocol.pad_to=true, or {other}"
    why = "" if predictor.pads_inputs else f", and {name} cannot pad them to one (pads_inputs)"
    raise UserError(
        f"compile={config.compile}: CUDA graphs need inputs of one shape; those of {config.model.name} on "
        f"{config.dataset.name} have {len(shapes)}{why}; give {other}"
    )


def _size(config: BenchConfig, shapes: Mapping[Shape, Any]) -> str:
    """Give an ``input_size`` that fits: the job's own, else one near the sizes that the inputs have."""
    if config.input_size is not None:
        return config.input_size
    edges = [edge for shape in shapes for edge in shape if isinstance(edge, int)]
    return f"{min(edges)}x{max(edges)}" if edges else "800x1333"


def _words(shape: Shape) -> str:
    return " and ".join(f"{one[0]}x{one[1]}" if isinstance(one, tuple) else str(one) for one in shape)
