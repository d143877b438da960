"""How the phases of a row in shards are spelled on a worker's command line."""

from __future__ import annotations

import re

from bench.passes.shards.division import Shard

_SHARD, _MERGE = "shard-", "merge-of-"


def shard_phase(shard: Shard) -> str:
    """Give the phase of a worker that predicts a shard, ``shard-2-of-5``."""
    return f"{_SHARD}{shard.name}"


def merge_phase(of: int) -> str:
    """Give the phase of the worker that merges so many shards and evaluates them."""
    return f"{_MERGE}{of}"


def shard_of(phase: str) -> Shard | None:
    """Give the shard of a phase that predicts one; None of any other phase."""
    found = re.fullmatch(rf"{_SHARD}(\d+)-of-(\d+)", phase)
    return Shard(int(found[1]), int(found[2])) if found else None


def merged_of(phase: str) -> int | None:
    """Give how many shards a phase merges; None of any other phase."""
    found = re.fullmatch(rf"{_MERGE}(\d+)", phase)
    return int(found[1]) if found else None
