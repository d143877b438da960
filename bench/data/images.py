"""The one reader of image files, and the check of one that does not decode it."""

from __future__ import annotations

import itertools
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_RUNS_A_PROGRAM = ("EPS",)
"""Formats that Pillow decodes by another program (Ghostscript), to which the file is a program."""

_JPEG_END = b"\xff\xd9"
_JPEG_TAIL_BYTES = 32  # cameras write a few bytes of padding behind the end-of-image marker


@dataclass(frozen=True)
class ImageRecord:
    """One image: its COCO id, its file, and its size in pixels, as it stands in the annotation file."""

    id: int
    path: Path
    height: int
    width: int


def read_image(record: ImageRecord) -> np.ndarray:
    """Read an image as uint8 RGB (H, W, 3), C-contiguous; grayscale, palette, RGBA and CMYK are converted.

    An EXIF orientation is not applied: COCO's annotations follow the pixels as they stand in the file, and so do its
    height and width.

    Nothing is decoded unless the file's header has the record's size, which ``dataset.max_pixels`` has bounded.

    Raises:
        UserError: the file is absent, no image, truncated, or not of the record's size.
    """
    try:
        with _opened(record.path, record.height, record.width) as image:
            if image.mode.startswith("I;16"):
                # Pillow clips 16 bits at 255 instead of scaling them.
                gray = (np.asarray(image) >> 8).astype(np.uint8)
                return np.stack([gray] * 3, axis=-1)
            return np.ascontiguousarray(np.array(image.convert("RGB")))
    except (MemoryError, UserError):
        raise
    # Pillow raises many exceptions for a damaged file (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        raise UserError(f"{record.path}: cannot be decoded, truncated or not an image ({error})") from error


def _opened(path: Path, height: int, width: int) -> Image:
    """Open an image file, of which only the header is read, and compare its size with what it should be.

    Raises:
        UserError: the file is absent, a pipe, a device or a folder, of another size, or of a format that is a program.
        Exception: what Pillow raises where it finds no image.
    """
    from PIL import Image

    # Pillow has a bound of its own, by a warning and an error without a key. Sizes are compared here instead.
    Image.MAX_IMAGE_PIXELS = None
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path}: is a folder, a pipe or a device, must be an image file")
        image = Image.open(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such image file") from error
    except OSError as error:
        if error.errno is None:  # Pillow's own, about the content
            raise
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    problem = None
    if image.format in _RUNS_A_PROGRAM:
        problem = f"is a file of the format {image.format}, which is a program; convert it to PNG or JPEG"
    elif image.size != (width, height):
        problem = (
            f"has {image.size[1]} x {image.size[0]} pixels (height x width), "
            f"the annotation file says {height} x {width}"
        )
    if problem:
        image.close()
        raise UserError(f"{path}: {problem}")
    return image


def read_images(records: Sequence[ImageRecord]) -> list[np.ndarray]:
    """Read the images of a batch, as :func:`read_image` does."""
    return [read_image(record) for record in records]


def batches(records: Sequence[ImageRecord], size: int) -> Iterator[list[ImageRecord]]:
    """Yield batches of consecutive images without end; after the last image comes the first again."""
    endless = itertools.cycle(records)
    while True:
        yield list(itertools.islice(endless, size))


def image_file_problem(path: Path, height: int, width: int) -> str | None:
    """Say what is wrong with an image file that should have ``height`` x ``width`` pixels; None where it is right.

    For speed a JPEG is not decoded, since a file that was cut off lacks its end-of-image marker. The whole file is
    decoded only where the marker is not near its end.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), _opened(path, height, width) as image:
            warnings.simplefilter("ignore")  # of damaged metadata, which does not matter here
            if image.format == "PNG":
                image.verify()
            elif image.format != "JPEG" or not _ends_like_a_jpeg(path):
                image.load()
    except UserError as error:
        return str(error)
    except Image.UnidentifiedImageError:
        return f"{path}: is not an image that Pillow can read"
    # Pillow raises many exceptions for a damaged file (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        return f"{path}: is truncated or damaged ({error}); copy it again"
    return None


def _ends_like_a_jpeg(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _JPEG_TAIL_BYTES))
        # Inside the compressed data 00 or a restart marker follows every byte FF, and never D9.
        return _JPEG_END in file.read()
