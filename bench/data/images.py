"""Image files: the one reader of them, and what can be wrong with one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import UserError

_JPEG_END = b"\xff\xd9"
# Cameras append a few bytes of padding behind the end-of-image marker.
_JPEG_TAIL_BYTES = 32


@dataclass(frozen=True)
class ImageRecord:
    """One image: its COCO id, its file, and its size in pixels as stored in the file."""

    id: int
    path: Path
    height: int
    width: int


def read_image(record: ImageRecord) -> np.ndarray:
    """The image as uint8 RGB (H, W, 3), C-contiguous; grayscale, palette, RGBA and CMYK are converted.

    An EXIF orientation is not applied: COCO's annotations are in the order of the stored pixels, and so
    are its height and width.

    Raises:
        UserError: the file is absent, not an image, truncated, or not of the record's size.
    """
    from PIL import Image

    try:
        with Image.open(record.path) as image:
            if image.mode.startswith("I;16"):
                # Pillow clips 16 bits at 255 instead of scaling them.
                gray = (np.asarray(image) >> 8).astype(np.uint8)
                pixels = np.stack([gray] * 3, axis=-1)
            else:
                pixels = np.array(image.convert("RGB"))
    except FileNotFoundError as error:
        raise UserError(f"{record.path}: no such image file") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{record.path}: cannot be decoded, truncated or not an image ({error})") from error
    if pixels.shape[:2] != (record.height, record.width):
        raise UserError(
            f"{record.path}: has {pixels.shape[0]} x {pixels.shape[1]} pixels (height x width), "
            f"the annotation file says {record.height} x {record.width}"
        )
    return np.ascontiguousarray(pixels)


def read_images(records: Sequence[ImageRecord]) -> list[np.ndarray]:
    """The images of a batch, as :func:`read_image` gives them."""
    return [read_image(record) for record in records]


def batches(records: Sequence[ImageRecord], size: int) -> Iterator[list[ImageRecord]]:
    """Batches of consecutive images from the first on, round and round without end."""
    endless = itertools.cycle(records)
    while True:
        yield list(itertools.islice(endless, size))


def image_file_problem(path: Path, height: int, width: int) -> str | None:
    """What is wrong with an image file that should have ``height`` x ``width`` pixels; None if it is right.

    A JPEG is not decoded, for speed: a file that was cut off lacks its end-of-image marker. Only where
    that marker is not at the very end (trailing bytes of a camera) the whole file is decoded to tell.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.size != (width, height):
                return (
                    f"{path}: has {image.size[1]} x {image.size[0]} pixels (height x width), "
                    f"the annotation file says {height} x {width}"
                )
            if image.format == "PNG":
                image.verify()
            elif image.format != "JPEG" or not _ends_like_a_jpeg(path):
                image.load()
    except FileNotFoundError:
        return f"{path}: no such image file"
    except Image.UnidentifiedImageError:
        return f"{path}: is not an image that Pillow can read"
    # Pillow tells a broken file by many exceptions (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        return f"{path}: is truncated or damaged ({error}); copy it again"
    return None


def _ends_like_a_jpeg(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _JPEG_TAIL_BYTES))
        # Inside the compressed data an FF byte is always followed by 00 or a restart marker, never by D9.
        return _JPEG_END in file.read()
