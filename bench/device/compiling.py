"""``torch.compile`` of the parts of a network that it can take: the backbone and the neck, where most of the time goes.

The heads of detectors decide by their own results how much there is to compute; a compiler follows that only in pieces.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.predictor import TorchPredictor
from bench.schema.parts.speed import CompileResult

if TYPE_CHECKING:  # a worker that replays results may do without it, and it takes seconds
    import torch

MOST_RECOMPILATIONS = 64
"""How often torch may compile one function anew. At torch's own limit, 8, it runs the function uncompiled from then on,
and the row would be one of a model that is not compiled."""


def compile_parts(predictor: TorchPredictor, mode: str, many_shapes: bool = False) -> None:
    """Have the predictor's ``compiled_parts`` compiled when they are first called.

    many_shapes: whether its inputs have more than one shape; the mode ``default`` then compiles code for any shape

    Raises:
        UserError: the network has none of them.
    """
    import torch

    found = parts_of(predictor)
    if not found:
        raise UserError(
            f"compile={mode}: {type(predictor).__name__} has no part {' or '.join(predictor.compiled_parts)}; "
            f"name what is to be compiled in its compiled_parts"
        )
    torch._dynamo.reset()
    torch._dynamo.config.cache_size_limit = max(MOST_RECOMPILATIONS, torch._dynamo.config.cache_size_limit)
    default = mode == "default"
    for part in found.values():
        part.compile(mode=None if default else mode, dynamic=True if default and many_shapes else None)


def frames() -> int:
    """Give how many pieces of code ``torch.compile`` has compiled or tried to, in this process."""
    return _count("total")


def left_uncompiled() -> int:
    """Give how many of them it gave up, which have run uncompiled since."""
    return _count("total") - _count("ok")


def _count(which: str) -> int:
    dynamo_utils = sys.modules.get("torch._dynamo.utils")  # it takes 2 s to import, and nothing is compiled without it
    return int(dynamo_utils.counters["frames"][which]) if dynamo_utils else 0


def outcome(predictor: TorchPredictor, mode: str, recompilations: int = 0) -> CompileResult:
    """What compiling has cost so far, in this process.

    recompilations: how often code was compiled after the first call
    """
    from torch._dynamo.utils import calculate_time_spent, counters

    return CompileResult(
        mode=mode,
        parts=list(parts_of(predictor)),
        seconds=float(calculate_time_spent().get("total_wall_time", 0.0)),
        graphs=int(counters["stats"]["unique_graphs"]),
        graph_breaks=int(sum(counters["graph_break"].values())),
        recompilations=recompilations,
    )


def parts_of(predictor: TorchPredictor) -> dict[str, torch.nn.Module]:
    """Give the parts of the network that are compiled, by their names in it."""
    modules = dict(predictor.module.named_modules())
    return {name: modules[name] for name in predictor.compiled_parts if name in modules}
