"""The check of a data set's image files, before anything is measured."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bench.data.findings import Findings, Kind
from bench.data.images import ABSENT_FILE, ImageRecord, OpenImage, Reading, open_image, orientation, stored_size
from bench.data.names import NO_NAME, OUTSIDE, absence, publishable
from bench.data.pixels import (
    BYTES,
    GRAY16,
    HIGH_BYTE,
    LEAST_USE,
    WIDE,
    WITHOUT_RANGE,
    ImageFileError,
    gray_numbers,
    range_key,
    to_rgb,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.data.dataset import CocoDataset

DECODED_PIXELS = 100_000_000
"""How many pixels are decoded, at most, to see what only pixels tell; a larger set is sampled evenly. It bounds the
check of JPEG files to less than a second of decoding."""

LEAST_CONTRAST = 16
"""The least difference between the darkest and the brightest of 256 values in an image that has contrast."""

OUTERMOST = 0.001
"""Share of the pixels at either end whose values say nothing of an image's range: hot pixels, dust, dead ones."""

FILL_GAP = 10
"""A value that is so many times as far from the next as all others reach stands for "no data"."""

_JPEG = ("JPEG", "MPO")  # MPO is a JPEG with others behind it: previews, or what a camera saw beside it
_JPEG_END = b"\xff\xd9"
_JPEG_TAIL_BYTES = 32  # cameras write a few bytes of padding behind the end-of-image marker
_DRAFT = 8  # the smallest scale at which a JPEG is decoded quickly

NO_IMAGE = Kind("no_image", "files that are no image that Pillow can read", "convert them to PNG or JPEG")
DAMAGED = Kind("damaged", "images that are truncated or damaged", "copy them again")
DARK = Kind(
    "dark",
    "images of 16 bits that use less than an eighth of their range, and would be nearly black",
    "give the range that they use as dataset.image_range=[LOW,HIGH]",
)
DARK_HIGH_BYTE = Kind(
    "dark_high_byte",
    "images of 16 bits and several channels that use less than an eighth of their range, and would be nearly black",
    "convert them to 8 bits a channel",
)
TURNED = Kind(
    "turned", "images that fit the annotation file only turned by their EXIF orientation", "they are read turned"
)
BOTH_FIT = Kind(
    "both_fit",
    "images that fit the annotation file with their EXIF orientation and without it",
    "they are read as stored, without it; dataset.exif=apply turns them, dataset.exif=ignore says that this is right",
)
FRAMES = Kind("frames", "image files of several pages or frames", "the first is read")
NO_CONTRAST = Kind(
    "no_contrast",
    "images without contrast, of which nearly all pixels are nearly equal",
    "see whether they were written well, and whether dataset.image_range is right",
)
CLIPPED = Kind("clipped", "images with values beyond dataset.image_range", "these values are clipped")
RANGE_UNUSED = Kind(
    "range_unused", "images of 8 bits at most, as all of this set are", "dataset.image_range has no effect on them"
)

_METADATA_OF_PNG = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")


def check_images(dataset: CocoDataset, findings: Findings) -> None:
    """Add what is wrong with the image files of a set as problems, and what a reader must know of them as notes.

    A file must be there, be an image, have the size in the annotation file, and be whole; the values of the set must
    give images that are neither black nor white. This is quick: of a JPEG only the header and the end are read. What
    only the pixels tell is told of :data:`DECODED_PIXELS` pixels, spread evenly over the set, and the line says so.
    Without an image folder there is nothing to check.
    """
    if not dataset.has_images or not dataset.images:
        return
    seen = _Seen(dataset, sampled(dataset.images))
    absent: list[ImageRecord] = []
    for record in dataset.images:
        try:
            _look(record, seen)
        except ImageFileError as fault:
            if fault.kind is ABSENT_FILE:
                absent.append(record)
            else:
                findings.problem(fault.kind, f"{seen.place(record)} {fault.what}")
    if absent and not any(finding.kind.name in (OUTSIDE.name, NO_NAME.name) for finding in findings):
        kind = absence([seen.name(record) for record in dataset.images], _folder_of(absent[0], seen.name(absent[0])))
        for record in absent:
            findings.problem(kind, f"{seen.place(record)} no such image file")
    _tell(seen, findings)


def _folder_of(record: ImageRecord, name: str) -> Path:
    """Give the image folder, from which the path of a file that is absent goes on with its name as written."""
    parts = PurePosixPath(os.path.normpath(name)).parts
    goes_on = record.path.parts[-len(parts) :] == parts and len(parts) <= len(record.path.parents)
    return record.path.parents[len(parts) - 1] if goes_on else record.path.parent


def sampled(records: Sequence[ImageRecord]) -> list[int]:
    """Give the places of the images whose pixels are decoded: all, or such that are spread evenly over the set.

    An image of more than :data:`DECODED_PIXELS` pixels is none of them.
    """
    pixels = [record.height * record.width for record in records]
    step = max(1, math.ceil(sum(pixels) / DECODED_PIXELS))
    return [place for place in range(0, len(records), step) if pixels[place] <= DECODED_PIXELS]


@dataclass
class _Numbers:
    """The files of one kind of values.

    places: of all these files
    low, high: the extreme numbers of those that were decoded
    use: the largest share of its range that one of them uses
    spans: how far the numbers of each that was decoded reach
    fills: numbers that stand for "no data"; the others do not count them
    """

    places: list[str] = field(default_factory=list)
    low: float = math.inf
    high: float = -math.inf
    use: float = 0.0
    spans: list[float] = field(default_factory=list)
    fills: set[float] = field(default_factory=set)

    def without_fill(self, numbers: np.ndarray) -> np.ndarray:
        """Give the numbers of a file without the lowest, or the highest, where it stands for "no data"."""
        for extreme in (numbers.min(), numbers.max()):
            others = numbers[numbers != extreme]
            if others.size == 0:
                return numbers
            low, high = float(others.min()), float(others.max())
            if min(abs(float(extreme) - low), abs(float(extreme) - high)) > FILL_GAP * (high - low) > 0:
                self.fills.add(float(extreme))
                numbers = others
        return numbers


class _Seen:
    """What was seen of the files so far.

    reading: how all of them are read
    kinds:   the files of each kind of values
    notes:   the places of what is told by notes
    sample:  how many images were decoded; None for all
    """

    def __init__(self, dataset: CocoDataset, decoded: Sequence[int]) -> None:
        self._names = dataset.file_names
        self._decoded = {dataset.images[place].id for place in decoded}
        self.sample = None if len(decoded) == len(dataset.images) else len(decoded)
        self.reading: Reading = dataset.images[0].reading
        self.kinds = {kind: _Numbers() for kind in (BYTES, GRAY16, HIGH_BYTE, WIDE)}
        self.notes: dict[Kind, list[str]] = {kind: [] for kind in (TURNED, BOTH_FIT, FRAMES, CLIPPED, NO_CONTRAST)}

    def place(self, record: ImageRecord) -> str:
        """Name an image by its file as the annotation file has it, and by its id."""
        return f"{publishable(self.name(record))} (id {record.id})"

    def name(self, record: ImageRecord) -> str:
        """Give the name of an image as the annotation file has it."""
        return self._names.get(record.id, record.path.name)

    def must_decode(self, record: ImageRecord, kind: str) -> bool:
        """Say whether the pixels of an image are to be looked at.

        Beyond the sample these are files of more than 8 bits as long as it is open whether the set is to be refused:
        the line then gives the extreme values of all of them.
        """
        is_open = kind == WIDE or (kind in (GRAY16, HIGH_BYTE) and self.kinds[kind].use < LEAST_USE)
        return record.id in self._decoded or (is_open and self.reading.image_range is None)


def _look(record: ImageRecord, seen: _Seen) -> None:
    """Look at one file, and keep in ``seen`` what is told of the whole set.

    Raises:
        ImageFileError: the file cannot be read as the annotation file says.
    """
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, which does not matter here
            opened = open_image(record)
            with opened.image:
                _note_header(record, opened, seen)
                if seen.must_decode(record, opened.values.kind):
                    _note_pixels(record, opened, seen)
                _refuse_damaged(record.path, opened.image)
    except (ImageFileError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageFileError(NO_IMAGE, "is not an image that Pillow can read") from error
    # Pillow raises many exceptions for a damaged file (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        raise ImageFileError(DAMAGED, f"is truncated or damaged ({error})") from error


def _refuse_damaged(path: Path, image: Image) -> None:
    """Let Pillow raise its exception where a file is cut off or damaged.

    For speed a JPEG is not decoded, since a file that was cut off lacks its end-of-image marker. The whole file is
    decoded only where the marker is not near its end.
    """
    if image.format in _JPEG:
        if not _ends_like_a_jpeg(path):
            from PIL import Image

            with Image.open(path) as again:  # this one may have been decoded at a smaller scale
                again.load()
    elif image.format == "PNG" and getattr(image, "tile", None):  # not decoded yet
        image.verify()
    else:
        image.load()


def _note_header(record: ImageRecord, opened: OpenImage, seen: _Seen) -> None:
    """Keep what the header of a file tells: its kind of values, its frames, and its orientation."""
    image, place = opened.image, seen.place(record)
    seen.kinds[opened.values.kind].places.append(place)
    if _has_frames(image):
        seen.notes[FRAMES].append(place)
    if seen.reading.exif != "auto":
        return
    wanted = record.height, record.width
    if stored_size(image) != wanted:
        seen.notes[TURNED].append(place)
    elif image.format != "PNG" or any(key in image.info for key in _METADATA_OF_PNG):
        found = orientation(image)
        if 1 < found < 5 or (found >= 5 and record.height == record.width):
            seen.notes[BOTH_FIT].append(place)


def _has_frames(image: Image) -> bool:
    if image.format in _JPEG:
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the second frame is damaged, and is not read
        return False


def _note_pixels(record: ImageRecord, opened: OpenImage, seen: _Seen) -> None:
    """Decode a file, and keep its extreme numbers and whether it has contrast."""
    image, values, limits = opened.image, opened.values, record.reading.image_range
    numbers, place = seen.kinds[values.kind], seen.place(record)
    if values.kind in (GRAY16, WIDE):
        found = gray_numbers(image, values)
        if limits is not None and (found.min() < limits[0] or found.max() > limits[1]):
            seen.notes[CLIPPED].append(f"{place} has {found.min():g} to {found.max():g}")
        low, high = _ends(numbers.without_fill(found))
        numbers.low, numbers.high = min(numbers.low, low), max(numbers.high, high)
        numbers.use = max(numbers.use, high / values.most)
        numbers.spans.append(high - low)
        if values.kind == WIDE and limits is None:
            return
    elif image.format in _JPEG and values.kind == BYTES:
        image.draft(None, (record.width // _DRAFT, record.height // _DRAFT))
        if _contrast(np.asarray(image)) >= LEAST_CONTRAST:
            return  # at full scale there is no less
        image = open_image(record).image
    with image:
        pixels = to_rgb(image, values, limits)
    if values.kind == HIGH_BYTE:
        numbers.use = max(numbers.use, _ends(pixels)[1] / 255)
    _note_contrast(pixels, place, seen)


def _note_contrast(pixels: np.ndarray, place: str, seen: _Seen) -> None:
    if _contrast(pixels) < LEAST_CONTRAST:
        seen.notes[NO_CONTRAST].append(place)


def _contrast(pixels: np.ndarray) -> int:
    """Give how far the values reach in one channel of an image (H, W) or (H, W, C), but for the outermost."""
    channels = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1).T
    return int(max(high - low for low, high in map(_ends, channels)))


def _ends(numbers: np.ndarray) -> tuple[float, float]:
    """Give the range of numbers but for the outermost :data:`OUTERMOST` at either end, such as hot pixels."""
    flat = numbers.reshape(-1)
    beyond = int(OUTERMOST * flat.size)
    if beyond == 0:
        return float(flat.min()), float(flat.max())
    parted = np.partition(flat, (beyond, flat.size - 1 - beyond))
    return float(parted[beyond]), float(parted[-1 - beyond])


def _tell(seen: _Seen, findings: Findings) -> None:
    """Add what is true of the set, once all of its files were seen."""
    if seen.reading.image_range is None:
        refused = _tell_ranges(seen, findings)
    else:
        refused = False
        if not any(seen.kinds[kind].places for kind in (GRAY16, HIGH_BYTE, WIDE)):
            _add_notes(findings, RANGE_UNUSED, seen.kinds[BYTES].places)
    turned = len(seen.notes[TURNED])
    for kind, places in seen.notes.items():
        if kind is NO_CONTRAST and refused:
            continue  # a consequence of the range
        if kind in (NO_CONTRAST, CLIPPED) and seen.sample is not None:
            kind = replace(kind, what=f"{kind.what}, among {seen.sample} that were decoded")
        if kind is BOTH_FIT and turned:
            kind = replace(kind, then=f"{kind.then} ({turned} images of this set fit only when they are turned)")
        _add_notes(findings, kind, places)


def _tell_ranges(seen: _Seen, findings: Findings) -> bool:
    """Add what needs ``dataset.image_range``, with the value of it; say whether there was any."""
    gray, wide, high_byte = (seen.kinds[kind] for kind in (GRAY16, WIDE, HIGH_BYTE))
    told: list[tuple[Kind, list[str]]] = []
    if 0 < gray.use < LEAST_USE:
        then = f"nearly no value is above {gray.high:g}; give {range_key(0, gray.high)}"
        told.append((replace(DARK, then=then), gray.places))
    if 0 < high_byte.use < LEAST_USE:
        told.append((DARK_HIGH_BYTE, high_byte.places))
    if wide.places and wide.low <= wide.high:
        fills = f", and {', '.join(f'{fill:g}' for fill in sorted(wide.fills)[:3])} for no data" if wide.fills else ""
        then = f"they hold values from {wide.low:g} to {wide.high:g}{fills}; give {range_key(wide.low, wide.high)}"
        dark = sum(span * 256 < LEAST_CONTRAST * (wide.high - wide.low) for span in wide.spans)
        if dark:
            then += f", in which {dark} of them have no contrast and would have to be converted to 8 bits"
        told.append((replace(WITHOUT_RANGE, then=then), wide.places))
    for kind, places in told:
        for place in places:
            findings.problem(kind, place)
    return bool(told)


def _add_notes(findings: Findings, kind: Kind, places: list[str]) -> None:
    for place in places:
        findings.note(kind, place)


def _ends_like_a_jpeg(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _JPEG_TAIL_BYTES))
        # Inside the compressed data 00 or a restart marker follows every byte FF, and never D9.
        return _JPEG_END in file.read()
