"""The image files of a split of a YOLO set, and where the label file of each is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.data.findings import Findings, Kind
from bench.errors import UserError

LISTED_TWICE = Kind("yolo_listed_twice", "images that the lists of a split name again", "read once")

SUFFIXES = frozenset(
    (*("bmp", "dng", "jpeg", "jpg", "mpo", "png", "tif", "tiff", "webp", "pfm"), *("heic", "avif", "jp2"))
)
"""The endings of image files that Ultralytics looks for (``IMG_FORMATS``)."""

MOST_LIST_BYTES = 1_000_000_000
"""The largest list of images: a list of ten million names is smaller."""


def image_files(places: Sequence[Path], root: Path, findings: Findings) -> list[Path]:
    """Give the image files of a split, each once, sorted.

    Args:
        places: folders, which are searched with all below them, and lists with a name on each line
        root: the folder of the set, from which names of lists may start
        findings: gets what a list names twice

    Raises:
        UserError: a list cannot be read, or there is no image.
    """
    found: dict[str, Path] = {}
    for place in places:
        for path in _in_folder(place) if place.is_dir() else _in_list(place, root):
            if str(path) not in found:
                found[str(path)] = path
            elif not place.is_dir():
                findings.repair(LISTED_TWICE, path.name)
    if not found:
        named = " and ".join(map(str, places))
        raise UserError(f"{named}: no image file ({', '.join(sorted(SUFFIXES))}) is there; give a split with images")
    return [found[name] for name in sorted(found)]


def label_file(image: Path) -> Path:
    """Give the label file of an image: the last folder ``images`` of its path is ``labels``, and its ending ``.txt``.

    It is the rule of Ultralytics (``img2label_paths``).
    """
    before, middle, after = str(image).rpartition(f"{os.sep}images{os.sep}")
    exchanged = f"{before}{os.sep}labels{os.sep}{after}" if middle else str(image)
    return Path(f"{os.path.splitext(exchanged)[0]}.txt")


def _in_folder(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if (real := os.path.realpath(place)) in seen:  # a link may lead in a circle
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in names if _is_image(name))


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.rpartition(".")[2].lower() in SUFFIXES


def _in_list(file: Path, root: Path) -> Iterator[Path]:
    """Give the files that a list names: ``./`` starts from its folder; other names from the set's, or from its own."""
    try:
        if file.stat().st_size > MOST_LIST_BYTES or not file.is_file():
            raise UserError(f"{file}: is no list of images, must be a text with a name on each line")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as a list of images: {error}") from error
    for line in lines:
        name = line.strip().replace("\\", "/")
        if not name or not _is_image(name.rpartition("/")[2]):
            continue
        starts = (file.parent,) if name.startswith("./") else (root, file.parent, Path.cwd())
        places = [Path(os.path.normpath(start / name)) for start in starts]
        yield next((place for place in places if os.path.exists(place)), places[0])
