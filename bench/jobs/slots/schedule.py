"""The rule of what may run side by side on the slots of one machine.

What times nothing runs on every slot at once: a training, the memory pass in its own process, operations, accuracy.
What is timed runs while nothing else of the command does, one row after the other, and all on the first slot, so that
rows that are compared were on one card. ``protocol.exclusive=slot`` lets each slot time its own rows beside the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.jobs.job import PlannedJob
from bench.schema.result import PASSES


@dataclass(frozen=True)
class Turn:
    """One turn of a study: the place of its job in the study, and the round, both counted from 1."""

    job: PlannedJob
    number: int
    round: int


def timed_alone(job: PlannedJob) -> bool:
    """Tell whether the timed passes of a job need the whole machine."""
    return job.config.protocol.exclusive == "machine"


def timed(due: Sequence[str]) -> list[str]:
    """Give those of some passes that are timed, in their order."""
    return [name for name in due if PASSES[name].timed]


def untimed(due: Sequence[str]) -> list[str]:
    """Give those of some passes that time nothing, in their order."""
    return [name for name in due if not PASSES[name].timed]


def rounds_of(job: PlannedJob) -> int:
    """Give the number of rounds of a job; a job without a pass that is measured in every round has one."""
    in_rounds = any(PASSES[name].in_rounds for name in job.config.passes)
    return job.config.protocol.rounds if in_rounds else 1
