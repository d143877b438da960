"""Reads a split of a YOLO segmentation set as a COCO object.

hotcoco's ``COCO.from_yolo`` takes boxes alone (five numbers a line), so that polygons are read here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.findings import Findings, Kind
from bench.data.ids import Id, as_id, rising
from bench.data.image_check import DAMAGED
from bench.data.images import ABSENT_FILE, size_as_seen
from bench.data.pixels import ImageFileError
from bench.data.yolo.data_yaml import DataYaml, group_of, read_data_yaml
from bench.data.yolo.files import image_files, label_file
from bench.data.yolo.labels import LINE, Labels
from bench.errors import UserError
from bench.schema.config import DatasetConfig

NO_LABEL = Kind(
    "yolo_no_label",
    "images without a label file",
    "they count as images without objects, in which every detection is wrong",
)
NO_LABELS = Kind(
    "yolo_no_labels",
    "images without a label file, all of the split",
    "the labels of .../images/NAME.jpg must be .../labels/NAME.txt",
)
SHARED_LABEL = Kind(
    "yolo_shared_label",
    "images that share a label file",
    "the same objects count in each of them; where they show other things, give the images names of their own",
)
NO_IMAGE_OF = Kind("yolo_no_image", "labels without an image", "they are not read; see whether images are missing")
TRAINED_ON = Kind(
    "yolo_trained_on", "images that belong to train: too", "the AP of a model that was trained on them is too high"
)

_NOT_LABELS = ("classes.txt", "labels.txt", "notes.txt")


@dataclass(frozen=True)
class YoloSet:
    """A split as a COCO object.

    data: ``images``, ``annotations`` and ``categories``; a category's id is its number in the label files, and an
        image's id is the name of its file without the ending, where no two have the same, else its path
    sha256: of the names, the sizes of images and the label files, wherever the set lies
    folder: from which the names of the images start
    places: where each annotation stands, as labels/val/1.txt:3, without folders of this machine
    """

    data: dict[str, Any]
    sha256: str
    folder: Path
    places: tuple[str, ...] = ()


def root_of(file: Path, key: str, config: DatasetConfig) -> Path:
    """Give the folder from which the splits of a ``data.yaml`` start.

    Raises:
        UserError: as :func:`read_split` does for the file.
    """
    return read_data_yaml(file, key, config, Findings()).root


def read_split(file: Path, key: str, config: DatasetConfig, findings: Findings) -> YoloSet:
    """Read the split ``config.split`` of a ``data.yaml``.

    Args:
        key: under which the user named the file
        findings: gets what is wrong with label and image files, and what a reader must know

    Raises:
        UserError: ``data.yaml`` is wrong, or the split has no image.
    """
    described = read_data_yaml(file, key, config, findings)
    places = described.places(config.split, group_of(config))
    images = image_files(places, described.root, findings)
    _note_images_of_train(described, config, images, findings)
    reader = _Reader(described, config, findings, _common(described.root, places))
    made = reader.read(images)
    _note_labels_alone(places, images, described.root, findings)
    return made


class _Reader:
    def __init__(self, described: DataYaml, config: DatasetConfig, findings: Findings, folder: Path) -> None:
        self._described, self._config, self._findings, self._folder = described, config, findings, folder
        self._labels = Labels(len(described.names), config.without_mask is not None, findings)
        self._bytes_left = config.max_json_gb * 1e9

    def read(self, images: Sequence[Path]) -> YoloSet:
        """Read the images of a split with their labels."""
        entries: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        content = hashlib.sha256(json.dumps(self._described.names).encode())
        unlabelled: list[Path] = []
        places: list[str] = []
        for identity, path in sorted(self._identified(images), key=lambda pair: rising(pair[0])):
            if (size := self._size(path)) is None:
                continue
            height, width = size
            file = label_file(path)
            labels = self._bytes_of(file)
            if labels is None:
                unlabelled.append(file)
            content.update(json.dumps([identity, height, width, None if labels is None else len(labels)]).encode())
            content.update(labels or b"")
            entries.append({"id": identity, "file_name": self._name(path), "height": height, "width": width})
            for line, made in self._labels.annotations(self._text(labels, file), width, height, self._name(file)):
                annotations.append({"id": len(annotations) + 1, "image_id": identity, "iscrowd": 0, **made})
                places.append(f"{self._shown(file)}:{line}")
        self._tell_labels(images, unlabelled, len(entries))
        categories = [{"id": number, "name": name} for number, name in enumerate(self._described.names)]
        data = {"images": entries, "annotations": annotations, "categories": categories}
        return YoloSet(data, content.hexdigest(), self._folder, tuple(places))

    def _tell_labels(self, images: Sequence[Path], unlabelled: Sequence[Path], count: int) -> None:
        """Tell the label files that are absent, of ``count`` images, and those that several images share."""
        kind = NO_LABELS if len(unlabelled) == count else NO_LABEL
        for file in unlabelled:
            (self._findings.problem if kind is NO_LABELS else self._findings.note)(kind, self._shown(file))
        files, absent = Counter(label_file(path) for path in images), set(unlabelled)
        for path in images:
            if files[file := label_file(path)] > 1 and file not in absent:
                self._findings.note(SHARED_LABEL, f"{self._shown(path)} of {self._shown(file)}")

    def _identified(self, images: Sequence[Path]) -> Iterable[tuple[Id, Path]]:
        """Give each image an id: the name without the ending, as Ultralytics writes it into its results."""
        stems = [_id_of(path.stem) for path in images]
        if len(set(stems)) == len(images):
            return list(zip(stems, images, strict=True))
        return [(self._name(path), path) for path in images]

    def _name(self, path: Path) -> str:
        """Give a path from the folder of the set, or as it is where it lies elsewhere."""
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else str(path)

    def _shown(self, path: Path) -> str:
        """Give the same for a note, which may be published, so that it has no folders of this machine."""
        name = self._name(path)
        return path.name if os.path.isabs(name) else name

    def _size(self, path: Path) -> tuple[int, int] | None:
        try:
            return size_as_seen(path, self._config.exif)
        except ImageFileError as fault:
            kind = fault.kind
            if kind is ABSENT_FILE:
                kind = dataclasses.replace(kind, then="give the images, or a list without them")
            self._findings.problem(kind, f"{self._name(path)} {fault.what}")
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises many exceptions for a damaged file
            self._findings.problem(DAMAGED, f"{self._name(path)} is no image, truncated or damaged ({error})")
        return None

    def _bytes_of(self, file: Path) -> bytes | None:
        """Give what a label file holds; None where there is none."""
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                self._findings.problem(LINE, f"{self._name(file)} is no file")
                return b""
            self._bytes_left -= status.st_size
            if self._bytes_left < 0:
                raise UserError(
                    f"{self._described.file}: its label files have more than "
                    f"dataset.max_json_gb={self._config.max_json_gb:g}; with about ten times that in free memory give "
                    f"a larger dataset.max_json_gb=N"
                )
            return file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._findings.problem(LINE, f"{self._name(file)} cannot be read: {error.strerror}")
            return b""

    def _text(self, labels: bytes | None, file: Path) -> str:
        try:
            return (labels or b"").decode("utf-8-sig")
        except UnicodeDecodeError:
            self._findings.problem(LINE, f"{self._name(file)} is no text in UTF-8")
            return ""


def _id_of(stem: str) -> Id:
    """Give 139 for 000139, and other names as they are."""
    found = as_id(stem.lstrip("0") or "0") if stem.isdecimal() else as_id(stem)
    return stem if found is None else found


def _common(root: Path, places: Sequence[Path]) -> Path:
    """Give the folder that the set's own entries and its root lie in, from which names of images start."""
    folders = [place for place in places if place.is_dir()]
    return Path(os.path.commonpath([root, *folders]))


def _note_images_of_train(
    described: DataYaml, config: DatasetConfig, images: Sequence[Path], findings: Findings
) -> None:
    if config.split == "train" or not described.entries.get("train"):
        return
    try:
        learned = image_files(described.places("train"), described.root, Findings())
    except UserError:  # the images to train on may be elsewhere
        return
    for path in sorted({os.path.realpath(path) for path in images} & {os.path.realpath(path) for path in learned}):
        findings.note(TRAINED_ON, os.path.basename(path))


def _note_labels_alone(places: Sequence[Path], images: Sequence[Path], root: Path, findings: Findings) -> None:
    """Note label files without an image in the folders of the split."""
    wanted = {str(label_file(image)) for image in images}
    for place in places:
        folder = label_file(place / "image.jpg").parent
        if not place.is_dir() or not folder.is_dir():
            continue
        for file in sorted(folder.rglob("*.txt")):
            if str(file) not in wanted and file.name not in _NOT_LABELS:
                findings.note(NO_IMAGE_OF, os.path.relpath(file, root).replace(os.sep, "/"))
