"""The lines of YOLO label files as annotations of COCO."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.bounds import quoted
from bench.data.findings import Findings, Kind
from bench.data.names import publishable

LINE = Kind(
    "yolo_line",
    "lines of label files in another form",
    "must be a class and the x and y of three points or more, as 0 0.1 0.1 0.5 0.1 0.5 0.5",
)
CLASS = Kind(
    "yolo_class", "lines with a class that names in data.yaml does not have", "classes are numbers, counted from 0"
)
RANGE = Kind(
    "yolo_range",
    "lines with a coordinate below -0.01 or above 1.01",
    "coordinates must be shares of the width and the height of the image; divide pixels by these, and cut polygons off "
    "at the edge of the image",
)
OVER_EDGE = Kind(
    "yolo_over_edge",
    "lines with a coordinate up to 0.01 beyond the edge of the image",
    "clipped to the edge",
)
BOX = Kind(
    "yolo_box",
    "lines with a box and no polygon",
    "give the labels of a segmentation set; or dataset.without_mask=drop to leave these objects out, or "
    "dataset.without_mask=ignore to make their boxes ignored regions",
)

_ROUNDING = 1e-6  # 1.0 in single precision, and sums of shares, may lie beyond 1 by this much
_OVER_EDGE = 0.01  # what Ultralytics lets through too (verify_image_label)
_BOX_NUMBERS, _LEAST_NUMBERS = 4, 6


@dataclass(frozen=True)
class Labels:
    """Reads the label files of one set.

    classes: how many there are
    boxes: whether boxes without polygons are read; else they are problems
    """

    classes: int
    boxes: bool
    findings: Findings

    def annotations(self, text: str, width: int, height: int, file: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Give the annotations of a label file, each with the number of its line, counted from 1.

        They have ``category_id``, and ``segmentation`` or ``bbox`` in pixels. A polygon stays as it is drawn: one that
        joins the outline of a hole to its own is one polygon.

        Args:
            text: of the file
            width, height: of the image as it is seen, turned by its EXIF orientation
            file: its name, for findings
        """
        for number, line in enumerate(text.splitlines(), start=1):
            if (words := line.split()) and (made := self._annotation(words, width, height, f"{file}:{number}")):
                yield number, made

    def _annotation(self, words: list[str], width: int, height: int, place: str) -> dict[str, Any] | None:
        try:
            label, *shares = map(float, words)
        except ValueError:
            self.findings.problem(LINE, f"{place} {quoted(' '.join(words))}")
            return None
        is_box = len(shares) == _BOX_NUMBERS
        is_polygon = len(shares) >= _LEAST_NUMBERS and len(shares) % 2 == 0
        finite = all(map(math.isfinite, (label, *shares)))
        if not finite or not label.is_integer() or not (is_box or is_polygon):
            self.findings.problem(LINE, f"{place} {quoted(' '.join(words))}")
        elif not 0 <= label < self.classes:
            self.findings.problem(CLASS, f"{place} class {words[0]} of {self.classes}")
        elif _beyond(shares) > _OVER_EDGE + _ROUNDING:
            self.findings.problem(RANGE, f"{place} {_furthest(shares):.9g}")
        elif is_box and not self.boxes:
            self.findings.problem(BOX, place)
        else:
            return {"category_id": int(label), **self._shape(shares, width, height, place)}
        return None

    def _shape(self, shares: list[float], width: int, height: int, place: str) -> dict[str, Any]:
        """Give ``bbox`` or ``segmentation`` in pixels."""
        if _beyond(shares) > _ROUNDING:
            self.findings.repair(OVER_EDGE, f"{publishable(place)} {_furthest(shares):.9g}")
            shares = [min(max(share, 0.0), 1.0) for share in shares]
        if len(shares) == _BOX_NUMBERS:
            x, y, w, h = shares
            return {"bbox": [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]}
        return {"segmentation": [[share * (height if n % 2 else width) for n, share in enumerate(shares)]]}


def _beyond(shares: Sequence[float]) -> float:
    """Give how far the furthest coordinate lies beyond the edge of the image, below 0 where all lie inside."""
    return abs(_furthest(shares) - 0.5) - 0.5


def _furthest(shares: Sequence[float]) -> float:
    return max(shares, key=lambda share: abs(share - 0.5))
