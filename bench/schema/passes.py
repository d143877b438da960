"""Every pass: what is known of it without importing it. This module needs the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PassFacts:
    """What is known of a pass without importing it.

    own_process: it has a worker process of its own, in which nothing else runs. It times nothing: the job's next worker
        imports its libraries at the same time
    in_rounds: it goes on round after round; its part of the Result has a list ``rounds``
    timed: it measures a time, or a share or a consumption over a time, so that no other process may use the cores
        meanwhile. Passes that time nothing come after those that do: the study's next row begins beside them
    runs_the_model: it needs a model that runs, and measures nothing of results that are replayed
    """

    own_process: bool = False
    in_rounds: bool = False
    timed: bool = False
    runs_the_model: bool = True


PASSES: dict[str, PassFacts] = {
    "speed": PassFacts(in_rounds=True, timed=True),
    "memory": PassFacts(own_process=True),
    "energy": PassFacts(timed=True),
    "busy": PassFacts(timed=True),
    "flops": PassFacts(),
    "accuracy": PassFacts(runs_the_model=False),
}
"""Every pass by its name, which is that of its part of a :class:`bench.schema.result.Result`, in the order in which a
worker runs them. ``busy`` is the last that is timed: after its profiler a process may launch kernels more slowly."""
