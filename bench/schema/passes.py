"""Every pass: what is known of it without importing it. This module needs the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PassFacts:
    """What is known of a pass without importing it.

    own_process: it has a worker process of its own, in which nothing else runs. It times nothing: the job's next worker
        imports its libraries at the same time
    in_rounds: it goes on round after round; its part of the Result has a list ``rounds``
    """

    own_process: bool = False
    in_rounds: bool = False


PASSES: dict[str, PassFacts] = {
    "speed": PassFacts(in_rounds=True),
    "memory": PassFacts(own_process=True),
    "energy": PassFacts(),
    "flops": PassFacts(),
    "accuracy": PassFacts(),
}
"""Every pass by its name, which is that of its part of a :class:`bench.schema.result.Result`, in the order in which a
worker runs them."""
