"""Divides the images of a data set among shards: by whole batches, as even as their sizes allow, always alike."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.data.images import ImageRecord

WITNESSES = 8
"""Batches that are predicted by every shard: a model that behaves otherwise at every n-th batch shows it up to 8."""


@dataclass(frozen=True)
class Shard:
    """One share of the images: the ``number``-th, counted from 1, ``of`` so many."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"shard {self.number} of {self.of}"

    @property
    def name(self) -> str:
        """Give its name in paths."""
        return f"{self.number}-of-{self.of}"


def batches_of(images: Sequence[ImageRecord], size: int) -> Iterator[Sequence[ImageRecord]]:
    """Give the batches of a pass over images: ``size`` images each, in their order; the last may have fewer."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def owners(images: Sequence[ImageRecord], batch_size: int, of: int) -> list[int]:
    """Give the number of the shard that each batch belongs to, counted from 1.

    A batch costs as many pixels as its files have: decoding and masks at full size grow with them. The dearest batch
    goes first, to the shard that has least so far. The answer depends on the arguments alone. A batch stays whole,
    because what a network says of an image may depend on the images that it is padded with.
    """
    costs = [sum(image.height * image.width for image in batch) for batch in batches_of(images, batch_size)]
    loads = [(0, number) for number in range(1, of + 1)]
    found = [0] * len(costs)
    for place in sorted(range(len(costs)), key=lambda place: (-costs[place], place)):
        load, number = loads[0]
        heapq.heapreplace(loads, (load + costs[place], number))
        found[place] = number
    return found


def images_of(shard: Shard, images: Sequence[ImageRecord], batch_size: int) -> list[ImageRecord]:
    """Give the images of a shard, in the order of the data set; in batches of ``batch_size`` they are its batches."""
    numbers = owners(images, batch_size, shard.of)
    batches = zip(numbers, batches_of(images, batch_size), strict=True)
    return [image for number, batch in batches if number == shard.number for image in batch]


def witnesses(shard: Shard, images: Sequence[ImageRecord], batch_size: int) -> Sequence[ImageRecord]:
    """Give the images that a shard predicts once more after its own: the first batches of another shard.

    It is the shard that has the first batch of the data set. Where both say the same of them, what a shard says does
    hardly depend on the images that came before.
    """
    first = owners(images, batch_size, shard.of)[:1]
    if first in ([], [shard.number]):
        return []
    return images_of(Shard(first[0], shard.of), images, batch_size)[: WITNESSES * batch_size]
