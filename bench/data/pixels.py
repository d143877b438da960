"""From the values of an image file to uint8 RGB: files of more than 8 bits are scaled or refused, and never clipped.

Pillow's own ``convert("RGB")`` clips 16 bits, integers and floats at 255, which makes most images white or black.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.findings import Kind

if TYPE_CHECKING:
    from PIL.Image import Image

BYTES, GRAY16, HIGH_BYTE, WIDE = "bytes", "16-bit gray", "high byte of 16 bits", "32-bit"
"""The kinds of values: at most 8 bits; 16 bits that are scaled here; 16 bits of several channels, of which Pillow gives
the high byte alone; and integers or floats, whose range no file tells."""

LEAST_USE = 1 / 8
"""The least share of its range that a set of 16-bit files must use: 12 bits stored in 16 use 1/16, and look black."""

_FULL16 = 65535
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF
_TOPS = (1, 255, 1023, 4095, 8191, 16383, _FULL16)
"""The brightest values that files of 8, 10, 12, 13, 14 and 16 bits can hold, and that of floats from 0 to 1."""

WITHOUT_RANGE = Kind(
    "without_range",
    "images of 32-bit integers or floats, whose darkest and brightest value no file tells",
    "give both as dataset.image_range=[LOW,HIGH]",
)
NOT_FINITE = Kind(
    "not_finite", "images that hold NaN or infinite values", "write a number there, or leave the images out of the set"
)
HIGH_BYTE_RANGE = Kind(
    "high_byte_range",
    "images of 16 bits and several channels, of which only the high byte is read",
    "dataset.image_range cannot scale them; leave it out, or convert them to 8 bits a channel",
)


class ImageFileError(Exception):
    """An image file cannot be read as the annotation file says.

    kind:   what is true of all such files
    what:   what is true of this one, in words that follow its name
    remedy: what would be right, where that depends on the file
    """

    def __init__(self, kind: Kind, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.kind, self.what = kind, what


@dataclass(frozen=True)
class Values:
    """What the numbers in a file mean, as its header says.

    kind:     one of the four kinds above
    most:     the largest number that the file can hold, where that is known
    inverted: 0 is white, as TIFF allows
    unsigned: integers of 32 bits without a sign, which Pillow gives as if they had one
    """

    kind: str
    most: int = 255
    inverted: bool = False
    unsigned: bool = False


def values_of(image: Image) -> Values:
    """Say what the values of an image are, of which only the header was read."""
    tags = getattr(image, "tag_v2", {})
    # Pillow inverts files of 8 bits itself.
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if image.mode.startswith("I;16"):
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        return Values(GRAY16, 2**bits - 1 if 8 < bits < 16 else _FULL16, inverted)
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return Values(GRAY16, _FULL16)  # PNG in Pillow before 10.3; PPM is scaled to 16 bits by Pillow
    if image.mode in ("I", "F"):
        return Values(WIDE, inverted=inverted, unsigned=_raw_mode(image) == "I;32N")
    if ";16" in _raw_mode(image) or (image.format == "PPM" and _ppm_most(image) > 255):
        return Values(HIGH_BYTE, _FULL16)
    return Values(BYTES)


def refuse_range(values: Values, image_range: tuple[float, float] | None) -> None:
    """Refuse a range for what it cannot scale.

    Raises:
        ImageFileError: the values are the high byte of 16 bits, and the range is not that of 16 bits.
    """
    if values.kind == HIGH_BYTE and image_range is not None and tuple(image_range) != (0, _FULL16):
        raise ImageFileError(HIGH_BYTE_RANGE, "has 16 bits in several channels, which dataset.image_range cannot scale")


def to_rgb(image: Image, values: Values, image_range: tuple[float, float] | None) -> np.ndarray:
    """Give the pixels as uint8 RGB (H, W, 3), C-contiguous.

    Files of at most 8 bits, and colour files of 16 bits, are converted by Pillow: an alpha channel or a transparent
    colour is dropped, as torchvision, detectron2 and OpenCV drop it, and of several frames it is the first.
    Gray files of 16 bits give their high byte, as OpenCV's ``imread`` does (of 12 bits, the upper 8 of these), or are
    scaled by ``image_range``. Integers and floats of 32 bits are scaled by ``image_range``.

    Args:
        image_range: the values that become 0 and 255; what lies between is linear, what lies beyond is clipped

    Raises:
        ImageFileError: the values need a range, or are not finite.
    """
    if values.kind in (BYTES, HIGH_BYTE):
        return np.ascontiguousarray(np.array(image.convert("RGB")))
    numbers = gray_numbers(image, values)
    if values.kind == WIDE and image_range is None:
        low, high = float(numbers.min()), float(numbers.max())
        raise ImageFileError(WITHOUT_RANGE, f"has values from {low:g} to {high:g}", f"give {range_key(low, high)}")
    gray = _scaled(numbers, values, image_range)
    return np.stack([255 - gray if values.inverted else gray] * 3, axis=-1)


def gray_numbers(image: Image, values: Values) -> np.ndarray:
    """Give the numbers of a gray file of more than 8 bits as they stand there: uint16, int32, uint32 or float32 (H, W).

    Raises:
        ImageFileError: one of them is NaN or infinite.
    """
    numbers = np.asarray(image)
    if values.kind == GRAY16:
        return numbers.astype(np.uint16)
    if values.unsigned:
        return numbers.view(np.uint32)
    if not np.isfinite(numbers).all():
        raise ImageFileError(NOT_FINITE, "holds NaN or infinite values")
    return numbers


def range_key(low: float, high: float) -> str:
    """Give the override that maps values from ``low`` to ``high`` to 0 to 255, ready to paste into any shell.

    It is the range of a usual number of bits, or of 0 to 1, where the values use at least an eighth of that.
    """
    if low >= 0:
        for top in _TOPS:
            if high <= top and high >= top * LEAST_USE:
                return f"'dataset.image_range=[0,{top}]'"
    high = high if high > low else low + 1
    return f"'dataset.image_range=[{_outward(low, math.floor)},{_outward(high, math.ceil)}]'"


def _scaled(numbers: np.ndarray, values: Values, image_range: tuple[float, float] | None) -> np.ndarray:
    if image_range is None:
        return (numbers >> (values.most.bit_length() - 8)).astype(np.uint8)
    if values.kind == GRAY16:  # a table is quicker than floats, and takes less memory
        return _linear(np.arange(_FULL16 + 1), image_range)[numbers]
    return _linear(numbers, image_range)


def _linear(numbers: np.ndarray, image_range: tuple[float, float]) -> np.ndarray:
    low, high = image_range
    shares = np.clip((numbers.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(shares * 255).astype(np.uint8)


def _outward(value: float, rounded: Callable[[float], int]) -> str:
    """Write a number with four digits, rounded by floor or ceil, so that the values lie inside."""
    if value == 0:
        return "0"
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 3)
    return f"{rounded(value / step) * step:.6g}"


def _layout(image: Image) -> tuple[Any, ...]:
    """Give Pillow's words for the layout in the file, of which the first is as ``RGB;16B``; () where there are none."""
    tiles = getattr(image, "tile", None)
    found = tiles[0][3] if tiles else ()
    return found if isinstance(found, tuple) else (found,)


def _raw_mode(image: Image) -> str:
    return str(next(iter(_layout(image)), ""))


def _ppm_most(image: Image) -> int:
    """Give the largest number of a PPM file's header; Pillow scales its values to 8 or 16 bits."""
    layout = _layout(image)
    return int(layout[1]) if len(layout) > 1 else 255
