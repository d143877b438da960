"""The list of results in a file: alone, or as the annotations of a COCO object that has images of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.bounds import quoted
from bench.data.findings import Findings
from bench.data.ids import Id, as_id
from bench.data.results import kinds
from bench.errors import UserError


@dataclass(frozen=True)
class Opened:
    """The results of a file, and the names of image files that the file itself gives to its ``image_id``.

    results: as they stand there
    images: id -> file name, of the images of a COCO object
    categories: id -> name, of its categories
    """

    results: list[Any]
    images: Mapping[Id, str] = field(default_factory=dict)
    categories: Mapping[Id, str] = field(default_factory=dict)

    def names_of(self, given: Collection[Id]) -> dict[Id, str]:
        """Give the one name of the file of each id, of those that have one: beside the id, or in the images."""
        names: dict[Id, set[str]] = {}
        for result in self.results:
            image = as_id(result.get("image_id")) if isinstance(result, dict) else None
            if image is not None and isinstance(name := result.get("file_name"), str):
                names.setdefault(image, set()).add(name)
        for image in self.images.keys() & set(given):
            names.setdefault(image, set()).add(self.images[image])
        return {image: found.pop() for image, found in names.items() if len(found) == 1 and image in given}


def opened(data: Any, path: Path, findings: Findings) -> Opened:
    """Give the results of a parsed file.

    A COCO object is taken too, where its annotations have scores or are none.

    Raises:
        UserError: it is neither; the message says what it is.
    """
    what = f"a COCO results array [{{{', '.join(kinds.KEYS)}}}, ...]"
    if isinstance(data, list):
        return Opened(data)
    results = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(results, list):
        given = f"a JSON object with the keys {quoted(sorted(data))}" if isinstance(data, dict) else quoted(data)
        raise UserError(f"{path}: is {given}, must be {what} (model.options.results)")
    if results and not any(isinstance(result, dict) and "score" in result for result in results):
        raise UserError(
            f"{path}: is a COCO object whose annotations have no score, as a data set is; must be {what} "
            f"(model.options.results)"
        )
    findings.repair(kinds.COCO_OBJECT, "annotations")
    return Opened(results, _named(data.get("images"), "file_name"), _named(data.get("categories"), "name"))


def _named(entries: Any, key: str) -> dict[Id, str]:
    """Give id -> name of the entries that have both."""
    return {
        identity: entry[key]
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get(key), str)
        if (identity := as_id(entry.get("id"))) is not None
    }
