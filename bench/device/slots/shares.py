"""The share of the cores that each GPU has: cores near it, and none that another GPU has."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from bench.device.cores import physical_cores

_NODES = Path("/sys/devices/system/node")


def shares(nodes: Sequence[int | None], usable: Sequence[int] | None) -> list[tuple[int, ...]]:
    """Give for each GPU its cores, the threads of whole physical ones, equally many for all of them.

    nodes: the NUMA node of each GPU; None where that is unknown
    usable: the cores that this process may run on; None where the system does not tell

    The cores of a node are divided among its GPUs, and the smallest share decides how many every GPU has. Where a node
    is unknown or none of its cores may be used, all cores are divided among all GPUs. No cores for any GPU means that
    there are too few to divide: the workers share them all.
    """
    none: list[tuple[int, ...]] = [() for _ in nodes]
    if usable is None:
        return none
    pools = {node: [] if node is None else _usable_of(node, usable) for node in nodes}
    if not all(pools.values()):
        nodes, pools = [None for _ in nodes], {None: list(usable)}
    groups = {node: physical_cores(pool) for node, pool in pools.items()}
    each = min(len(groups[node]) // nodes.count(node) for node in groups)
    if not each:
        return none
    taken = dict.fromkeys(groups, 0)
    found = []
    for node in nodes:
        begin = taken[node]
        taken[node] = begin + each
        found.append(tuple(sorted(core for group in groups[node][begin : begin + each] for core in group)))
    return found


def _usable_of(node: int, usable: Sequence[int]) -> list[int]:
    with contextlib.suppress(OSError, ValueError):
        text = (_NODES / f"node{node}" / "cpulist").read_text(encoding="ascii").strip()
        there = set(_listed(text))
        return [core for core in usable if core in there]
    return []


def _listed(text: str) -> list[int]:
    """Give the numbers of a list of the kernel's, ``0-3,8``."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
