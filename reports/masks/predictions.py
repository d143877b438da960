"""What a model predicted on a few images, as far as it is drawn: the highest scores, and how many there are in all."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.bounds import is_integer, is_number
from bench.data.coco_json import segmentation_problem, to_rle
from bench.data.ids import Id, as_id
from bench.files.digests import sha256_of
from reports.masks.drawing import Drawn
from reports.masks.results_text import TooLong, detections

MOST_MASKS = 2000
"""So many masks of an image are kept at most, those of the highest scores."""

MOST_RLE_BYTES = 8 << 20
"""The most bytes that the masks of an image may take as RLE."""


@dataclass
class Predicted:
    """The detections of one image.

    kept: by falling score, those that reach the least score asked for; at most :data:`MOST_MASKS`
    reaching: how many reach that score
    total: how many there are at all
    other_size: how many there are whose mask has another size than the image
    too_long: how many of the images asked for are too long to be read
    """

    kept: list[Drawn] = field(default_factory=list)
    reaching: int = 0
    total: int = 0
    other_size: int = 0
    too_long: int = 0

    @property
    def bytes(self) -> int:
        """How much memory the masks take."""
        return sum(len(drawn.rle["counts"]) for drawn in self.kept)

    def left_out(self) -> str:
        """Say which of the masks that reach the score are not kept; "" where all are."""
        parts = []
        if self.reaching > len(self.kept):
            parts.append(f"only the {len(self.kept)} highest scores of {self.reaching} are shown")
        if self.too_long:
            parts.append(f"{self.too_long} too long to be read")
        return ", ".join(parts)


def not_as_measured(path: Path, sha256: str | None) -> str:
    """Say why a results file is not the one that a result's figures are of; "" where it is, or no digest is known.

    Raises:
        OSError: the file cannot be read.
    """
    if sha256 is None or sha256_of(path) == sha256:
        return ""
    return f"{path.name} has changed since it was evaluated"


def read_predictions(
    path: Path,
    shapes: Mapping[Id, tuple[int, int]],
    least: float,
    most: int = MOST_MASKS,
    sha256: str | None = None,
) -> dict[Id, Predicted] | str:
    """Read the predictions of some images, or say why there are none.

    A file of gigabytes is no burden. It may be of anybody: a detection that is none is left out.

    Args:
        shapes: height and width of each image that is wanted
        least: the score that a detection must have to be kept
        most: how many to keep of an image
        sha256: of the file whose figures stand beside what is drawn; a file of another one is not read. None if unknown
    """
    if not path.is_file():
        return "no predictions file"
    best = {image_id: _Best(shape, least, most) for image_id, shape in shapes.items()}
    too_long = 0
    try:
        if changed := not_as_measured(path, sha256):
            return changed
        for entry in detections(path, shapes.keys()):
            if isinstance(entry, TooLong):
                too_long += 1
            elif (image_id := as_id(entry.get("image_id"))) in best:
                best[image_id].take(entry)
    except OSError:
        return "no predictions file"
    return {image_id: taken.predicted(too_long) for image_id, taken in best.items()}


class _Best:
    """Keeps the best detections of one image while the file is read."""

    def __init__(self, shape: tuple[int, int], least: float, most: int) -> None:
        self._shape, self._least, self._most = shape, least, most
        self._found = Predicted()
        self._kept: list[tuple[float, int, Drawn]] = []  # a heap: the lowest score first, of equal ones the last
        self._order = itertools.count(0, -1)
        self._bytes = 0
        self._floor = -math.inf  # no score up to this one is among the best

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take one detection of the image, whose score is looked at before its mask."""
        category_id = as_id(entry.get("category_id"))
        score, segmentation = entry.get("score"), entry.get("segmentation")
        if category_id is None or not is_number(score) or not isinstance(segmentation, dict):
            return
        size = segmentation.get("size")
        if not (isinstance(size, list) and len(size) == 2 and all(map(is_integer, size))):
            return
        if size != list(self._shape):
            self._found.other_size += 1
        elif score < self._least:
            self._found.total += 1
        elif score <= self._floor:
            self._found.total += 1
            self._found.reaching += 1
        elif segmentation_problem(segmentation, *self._shape) is None:
            self._found.total += 1
            self._found.reaching += 1
            self._keep(Drawn(to_rle(segmentation, *self._shape), category_id, float(score)))

    def _keep(self, drawn: Drawn) -> None:
        heapq.heappush(self._kept, (drawn.score, next(self._order), drawn))
        self._bytes += len(drawn.rle["counts"])
        while len(self._kept) > self._most or (self._bytes > MOST_RLE_BYTES and len(self._kept) > 1):
            self._floor, _, lowest = heapq.heappop(self._kept)
            self._bytes -= len(lowest.rle["counts"])

    def predicted(self, too_long: int) -> Predicted:
        """The detections that were taken."""
        self._found.kept = [drawn for _, _, drawn in sorted(self._kept, key=lambda entry: entry[:2], reverse=True)]
        self._found.too_long = too_long
        return self._found
