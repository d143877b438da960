"""Reads an annotation file of any format, and finds what is wrong with its entries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.findings import Findings
from bench.data.forms.federation import Federation, federation
from bench.data.ids import as_id
from bench.data.problems import sound_entries
from bench.data.reading import not_coco, parse_json, read_file
from bench.data.yolo.convert import read_split
from bench.errors import UserError
from bench.schema.config import DatasetConfig


@dataclass(frozen=True)
class Read:
    """An annotation file that was read.

    data: the lists of :func:`bench.data.problems.sound_entries`
    total_annotations: how many the file has
    sha256: of what was read
    images: the folder of the image files; None where there is none
    exif: how its images are turned
    federation: of an LVIS set
    places: where each annotation stands, as labels/val/1.txt:3; () where its number in the file says it
    """

    data: dict[str, Any]
    total_annotations: int
    sha256: str
    images: Path | None
    exif: str = DatasetConfig.exif
    federation: Federation | None = None
    places: Sequence[str] = ()

    def place(self, number: int) -> str:
        """Say where the annotation with this number, counted from 1, stands: ``annotations[0]``, or its line."""
        return self.places[number - 1] if self.places else f"annotations[{number - 1}]"


def read_set(path: Path, images: Path | None, key: str, config: DatasetConfig, findings: Findings) -> Read:
    """Read an annotation file of ``config.format``, and add what is wrong with its entries to ``findings``.

    Args:
        images: the image folder; None where there is none
        key: under which the user named the file

    Raises:
        UserError: the file cannot be read, or is no annotation file of this format.
    """
    if config.format == "yolo":
        split = read_split(path, key, config, findings)
        # The sizes that the shares of a label are multiplied by are those of the images as they are seen.
        exif = "apply" if config.exif == "auto" else config.exif
        sound: dict[str, Any] = dict(sound_entries(split.data, config, findings, split.places))
        total = len(split.data["annotations"])
        return Read(sound, total, split.sha256, split.folder, exif, places=split.places)
    content = read_file(path, key, config.how_to_get, config.max_json_gb)
    data = parse_json(content, path, key, config.max_json_gb)
    if problem := not_coco(data, config.format):
        raise UserError(f"{path}: {problem} ({key})")
    sound = dict(sound_entries(data, config, findings))
    federated = _federation(data, sound, findings) if config.format == "lvis" else None
    sha256 = hashlib.sha256(content).hexdigest()
    return Read(sound, len(data["annotations"]), sha256, images, config.exif, federated)


def _federation(data: Mapping[str, Any], sound: Mapping[str, Any], findings: Findings) -> Federation:
    """Read LVIS's keys of the entries that are right."""
    given = {as_id(entry.get("id")): entry for entry in data["categories"] if isinstance(entry, Mapping)}
    categories = [{**given[category["id"]], "id": category["id"]} for category in sound["categories"]]
    known = {identity for identity in given if identity is not None}
    return federation(sound["images"], categories, sound["annotations"], known, findings)
