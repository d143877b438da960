"""The images that the speed pass goes round: the same for every row of a study, each as often as every other.

A slow row times fewer batches than a fast one. Where each of them took the images as they come, the two would be timed
on different images, and their FPS would differ for that alone. So a round ends only where all of these were timed
equally often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from bench.schema.config import ProtocolConfig

ON_A_CPU, ON_A_GPU = 10, 50
"""How many images are timed without ``protocol.timed_images``. No other key decides it: a round that is added to others
has their images."""

_Image = TypeVar("_Image")


def timed_images(images: Sequence[_Image], protocol: ProtocolConfig, on_a_gpu: bool) -> list[_Image]:
    """Give the images to time, spread evenly over ``images``, in their order.

    They are ``protocol.timed_images``, or without it :data:`ON_A_CPU` or :data:`ON_A_GPU`; at most all.
    """
    count = protocol.timed_images or (ON_A_GPU if on_a_gpu else ON_A_CPU)
    count = min(count, len(images))
    return [images[place * len(images) // count] for place in range(count)]


def batches_of_a_lap(images: int, batch_size: int) -> int:
    """Give after how many batches all images were in equally many of them: 5 batches of 4 for 10 images."""
    return images // math.gcd(images, batch_size)
