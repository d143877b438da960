"""What a stored value must keep beside its type, written as an annotation of its field.

A reader of stored files holds them (:mod:`bench.files.validation`); who makes such an object in a program is free of
them. This module needs the standard library alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

LARGEST_INTEGER = 2**63 - 1
"""No integer of a stored file is larger, so that a column of a table can hold it; ids of images come near."""

LARGEST_NUMBER = 1e60
"""No number of a stored file is larger, so that sums and squares of many are finite."""

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Within:
    """The number is no less than ``low`` and no more than ``high``."""

    low: float
    high: float


@dataclass(frozen=True)
class Items:
    """The list has so many items."""

    count: int


@dataclass(frozen=True)
class Like:
    """The dict has the keys of this dataclass, as far as it has them; others may stand beside them.

    The dict may be from an older or a newer version, which has other keys. What readers ask for has its type.
    """

    shape: type


class Agreeing(ABC):
    """A dataclass whose fields must agree with each other."""

    @abstractmethod
    def check(self) -> None:
        """Compare the fields.

        Raises:
            ValueError: they contradict each other; the message names them.
        """


Count = Annotated[int, Within(0, LARGEST_INTEGER)]
"""How many there are, a number of bytes, or an index."""

PositiveCount = Annotated[int, Within(1, LARGEST_INTEGER)]

Amount = Annotated[float, Within(0, LARGEST_NUMBER)]
"""Seconds, milliseconds, joules, watts and other figures that are never negative."""

Fraction = Annotated[float, Within(0, 1 + _ROUNDING)]
"""A share of a whole, such as AP or IoU. The sum that it is from may have been rounded up."""

SignedFraction = Annotated[float, Within(-1 - _ROUNDING, 2 + _ROUNDING)]
"""The end of an interval around a fraction, or the difference of two."""

Percent = Annotated[float, Within(0, 101)]
"""A share of a whole, times 100. Two clocks may have been read for it, one a little after the other."""

Size = Annotated[list[PositiveCount], Items(2)]
"""[height, width] in pixels."""
