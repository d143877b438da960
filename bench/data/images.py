"""The one reader of image files, and the check of one that does not decode it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import UserError

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

    Raises:
        UserError: the file is absent, no image, truncated, or not of the record's size.
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
