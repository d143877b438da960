"""The one reader of image files: for the model, the panels and the pages."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.data.findings import Kind
from bench.data.ids import Id
from bench.data.pixels import ImageFileError, Values, refuse_range, to_rgb, values_of
from bench.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_RUNS_A_PROGRAM = ("EPS",)
"""Formats that Pillow decodes by another program (Ghostscript), to which the file is a program."""

_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 0x0112, 256, 257  # tags of EXIF and TIFF
_TURNS = (
    *("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE"),
    *("ROTATE_270", "TRANSVERSE", "ROTATE_90"),
)
"""What turns an image of orientation 2 to 8 upright, as in Pillow's ``ImageOps.exif_transpose``."""

_FIRST_ASIDE = 5
"""From this orientation on, height and width are exchanged."""

_BACK = {6: 8, 8: 6}
"""The orientation whose turn undoes another's; all others undo themselves."""

ABSENT_FILE = Kind(
    "absent_file",
    "images whose file is absent",
    "dataset.images must be the folder from which the names of the annotation file start",
)
NO_FILE = Kind(
    "no_file", "images that are a folder, a pipe, a device, or cannot be opened", "put readable image files there"
)
PROGRAM = Kind("program", "images of a format that is a program", "convert them to PNG or JPEG")
OTHER_SIZE = Kind(
    "other_size",
    "images of another size than in the annotation file",
    "give the images that were annotated, or the annotations of these",
)
OTHER_TURN = Kind(
    "other_turn",
    "images whose EXIF orientation exchanges height and width, against dataset.exif",
    "give dataset.exif=auto, which chooses for each image what fits the annotation file",
)


@dataclass(frozen=True)
class Reading:
    """How image files become pixels: ``dataset.exif`` and ``dataset.image_range``."""

    exif: str = "auto"
    image_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class ImageRecord:
    """One image: its id and size in pixels, as they stand in the annotation file, its file, and how that is read."""

    id: Id
    path: Path
    height: int
    width: int
    reading: Reading = Reading()


@dataclass(frozen=True)
class OpenImage:
    """An image file of which only the header was read, and which fits its record.

    values: what its numbers mean
    turn:   the EXIF orientation that turns the pixels that Pillow gives as the record wants them; 1 leaves them
    """

    image: Image
    values: Values
    turn: int


def read_image(record: ImageRecord) -> np.ndarray:
    """Read an image as uint8 RGB (H, W, 3), C-contiguous, of the record's size.

    :func:`bench.data.pixels.to_rgb` says what becomes of the values of each kind of file, which its content and not its
    name tells. With ``dataset.exif=auto`` an image is turned by its EXIF orientation where only that gives the record's
    size; where both sizes fit, the pixels stay as they are stored, as pycocotools' users have COCO.

    Nothing is decoded unless the file's header has the record's size, which ``dataset.max_pixels`` has bounded.

    Raises:
        UserError: the file is absent, no image, truncated, not of the record's size, or its values need
            ``dataset.image_range``.
    """
    try:
        opened = open_image(record)
        with opened.image as image:
            return turned(to_rgb(image, opened.values, record.reading.image_range), opened.turn)
    except ImageFileError as fault:
        raise UserError(f"{record.path}: {fault}") from fault
    except MemoryError:
        raise
    # Pillow raises many exceptions for a damaged file (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        raise UserError(f"{record.path}: cannot be decoded, truncated or not an image ({error})") from error


def open_image(record: ImageRecord) -> OpenImage:
    """Open an image file, of which only the header is read, and compare its size with the record's.

    Raises:
        ImageFileError: the file is absent, a pipe, a device or a folder, of another size, of a format that is a
            program, or of values that ``dataset.image_range`` cannot scale.
        Exception: what Pillow raises where it finds no image.
    """
    image = _opened(record.path)
    try:
        if image.format in _RUNS_A_PROGRAM:
            raise _runs_a_program(image)
        values = values_of(image)  # before the orientation, for which a PNG may be decoded
        refuse_range(values, record.reading.image_range)
        return OpenImage(image, values, _turn(image, record))
    except BaseException:
        image.close()
        raise


def turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Turn pixels (H, W, 3) upright that were stored by an EXIF orientation from 1 to 8."""
    if turn == 1:
        return pixels
    from PIL import Image

    return np.array(Image.fromarray(pixels).transpose(Image.Transpose[_TURNS[turn - 2]]))


def orientation(image: Image) -> int:
    """Give the EXIF orientation of an image, 1 to 8; 1 where there is none or the metadata are damaged.

    It may decode a PNG, whose metadata may follow its pixels.
    """
    try:
        # Of a TIFF, Pillow forgets it once the image is decoded.
        tags = image.tag_v2 if image.format == "TIFF" else image.getexif()  # type: ignore[attr-defined]
        value = tags.get(_ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # Pillow raises many exceptions for damaged metadata
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def stored_size(image: Image) -> tuple[int, int]:
    """Give the height and width of the pixels as they are stored; Pillow gives those of a TIFF turned."""
    if image.format == "TIFF":
        return image.tag_v2[_TIFF_HEIGHT], image.tag_v2[_TIFF_WIDTH]  # type: ignore[attr-defined]
    return image.size[1], image.size[0]


def size_as_seen(path: Path, exif: str) -> tuple[int, int]:
    """Give the height and width of an image file turned by its EXIF orientation, of which only the header is read.

    exif: ``dataset.exif``; with ``ignore`` they are those of the pixels as they are stored

    Raises:
        ImageFileError: the file is absent, a pipe, a device or a folder, or of a format that is a program.
        Exception: what Pillow raises where it finds no image.
    """
    with _opened(path) as image:
        if image.format in _RUNS_A_PROGRAM:
            raise _runs_a_program(image)
        height, width = stored_size(image)
        turned_aside = exif != "ignore" and orientation(image) >= _FIRST_ASIDE
        return (width, height) if turned_aside else (height, width)


def read_images(records: Sequence[ImageRecord]) -> list[np.ndarray]:
    """Read the images of a batch, as :func:`read_image` does."""
    return [read_image(record) for record in records]


def batches(records: Sequence[ImageRecord], size: int) -> Iterator[list[ImageRecord]]:
    """Yield batches of consecutive images without end; after the last image comes the first again."""
    endless = itertools.cycle(records)
    while True:
        yield list(itertools.islice(endless, size))


def _runs_a_program(image: Image) -> ImageFileError:
    what = f"is a file of the format {image.format}, which is a program"
    return ImageFileError(PROGRAM, what, "convert it to PNG or JPEG")


def _opened(path: Path) -> Image:
    from PIL import Image

    # Pillow has a bound of its own, by a warning and an error without a key. Sizes are compared here instead.
    Image.MAX_IMAGE_PIXELS = None
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageFileError(NO_FILE, "is a folder, a pipe or a device, must be an image file")
        return Image.open(path)
    except FileNotFoundError as error:
        raise ImageFileError(ABSENT_FILE, "no such image file") from error
    except OSError as error:
        if error.errno is None:  # Pillow's own, about the content
            raise
        raise ImageFileError(NO_FILE, f"cannot be read: {error.strerror}") from error


def _turn(image: Image, record: ImageRecord) -> int:
    """Give the orientation by which the pixels that Pillow gives are to be turned.

    Raises:
        ImageFileError: the size fits neither stored nor turned, or only against ``dataset.exif``.
    """
    stored, wanted, exif = stored_size(image), (record.height, record.width), record.reading.exif
    if sorted(stored) != sorted(wanted):
        raise _other_size(stored, wanted)
    given_turned = image.format == "TIFF"  # by Pillow, as soon as it is decoded
    as_stored = stored == wanted
    if as_stored and exif != "apply" and not given_turned:
        return 1
    found = orientation(image)
    as_turned = (stored[::-1] if found >= _FIRST_ASIDE else stored) == wanted
    apply = exif == "apply" or (exif == "auto" and not as_stored)
    if not (as_turned if apply else as_stored):
        if as_turned or as_stored:
            raise ImageFileError(
                OTHER_TURN,
                f"fits the annotation file's {wanted[0]} x {wanted[1]} pixels (height x width) only "
                f"{'as it is stored' if apply else f'turned by its EXIF orientation {found}'}",
                "give dataset.exif=auto",
            )
        raise _other_size(stored, wanted)
    if given_turned:
        return 1 if apply else _BACK.get(found, found)
    return found if apply else 1


def _other_size(stored: tuple[int, int], wanted: tuple[int, int]) -> ImageFileError:
    return ImageFileError(
        OTHER_SIZE,
        f"has {stored[0]} x {stored[1]} pixels (height x width), the annotation file says {wanted[0]} x {wanted[1]}",
    )
