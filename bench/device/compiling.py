"""``torch.compile`` of the parts of a network that it can take: the backbone and the neck, where most of the time goes.

The heads of detectors decide by their own results how much there is to compute; a compiler follows that only in pieces.
"""

from __future__ import annotations

import torch

from bench.errors import UserError
from bench.predictor import TorchPredictor
from bench.schema.result import CompileResult


def compile_parts(predictor: TorchPredictor, mode: str) -> None:
    """Have the predictor's ``compiled_parts`` compiled when they are first called.

    Raises:
        UserError: the network has none of them.
    """
    found = _parts(predictor)
    if not found:
        raise UserError(
            f"compile={mode}: {type(predictor).__name__} has no part {' or '.join(predictor.compiled_parts)}; "
            f"name what is to be compiled in its compiled_parts"
        )
    torch._dynamo.reset()
    for part in found.values():
        part.compile(mode=None if mode == "default" else mode)


def outcome(predictor: TorchPredictor, mode: str) -> CompileResult:
    """What compiling has cost so far, in this process."""
    from torch._dynamo.utils import calculate_time_spent, counters

    return CompileResult(
        mode=mode,
        parts=list(_parts(predictor)),
        seconds=float(calculate_time_spent().get("total_wall_time", 0.0)),
        graphs=int(counters["stats"]["unique_graphs"]),
        graph_breaks=int(sum(counters["graph_break"].values())),
    )


def _parts(predictor: TorchPredictor) -> dict[str, torch.nn.Module]:
    modules = dict(predictor.module.named_modules())
    return {name: modules[name] for name in predictor.compiled_parts if name in modules}
