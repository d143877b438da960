"""Makes the jobs of a command fit its slots, or says what of them does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bench.device.cores import quota_cores
from bench.device.slots.slot import Slot
from bench.errors import UserError
from bench.jobs.job import ComposedJob


def fitted(jobs: Sequence[ComposedJob], slots: Sequence[Slot]) -> list[ComposedJob]:
    """Give the jobs with the device that each slot is for their workers; as they are where there are no slots.

    Raises:
        UserError: a job asks for what a slot does not have.
    """
    return [_fitted(job, slots[0]) for job in jobs] if slots else list(jobs)


def _fitted(job: ComposedJob, slot: Slot) -> ComposedJob:
    config = job.config
    if config.device not in ("auto", slot.kind, slot.device):
        raise UserError(f"device={config.device}: the slots of devices are of {slot.kind}; leave device out")
    if config.protocol.pin:
        raise UserError(
            "protocol.pin=true: a worker on a slot is on its own cores already; leave out one of pin and devices"
        )
    if config.gate is not None and config.gate.mode == "interleaved":
        raise UserError(
            "gate=interleaved: times both sides in turn, in one place; leave devices out, and give device=cuda:0"
        )
    return dataclasses.replace(job, config=dataclasses.replace(config, device=slot.device))


def too_little_time(slots: Sequence[Slot], quota: float | None = None) -> str | None:
    """Say it where the slots of a container have more cores than it has computing time; None where they do not.

    quota: as :func:`bench.device.cores.quota_cores` gives it, which is asked without it
    """
    quota = quota_cores() if quota is None else quota
    cores = sum(len(slot.cores) for slot in slots)
    if quota is None or cores <= quota or len(slots) < 2:
        return None
    return (
        f"devices: the slots have {cores} cores, and this container has computing time for {quota:g}: rows that run "
        f"side by side slow each other down"
    )
