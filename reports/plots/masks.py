"""Ground truth and predictions of a few images, read without loading the rest, and drawn over the photograph."""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from bench.schema.row import Row
from reports.table.columns import dataset_files

RGB = tuple[float, float, float]
_IMAGE_ID = re.compile(r'"image_id":\s*(\d+)')
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Drawn:
    """One mask to draw: bool (H, W) of a whole image; ``score`` is 1 for ground truth."""

    mask: np.ndarray
    category_id: int
    score: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        return self.mask.shape[0], self.mask.shape[1]


@dataclass
class GroundTruth:
    """A COCO-format file with what a panel needs of it: images and annotations by id, category names, colours."""

    folder: Path
    images: dict[int, dict[str, Any]]
    annotations: dict[int, list[dict[str, Any]]]
    categories: dict[int, str]
    colours: dict[int, RGB] = field(init=False)

    def __post_init__(self) -> None:
        self.colour_classes(())

    @classmethod
    def read(cls, job: Row) -> GroundTruth | None:
        """The dataset of a job, None where its annotations are no longer where they were."""
        folder, annotations = dataset_files(job)
        if not folder or not annotations:
            return None
        try:
            data = json.loads(Path(annotations).read_text(encoding="utf-8"))
            by_image: dict[int, list[dict[str, Any]]] = {}
            for annotation in data["annotations"]:
                by_image.setdefault(annotation["image_id"], []).append(annotation)
            listed = sorted(data["images"], key=lambda image: image["id"])
            images = {image["id"]: {key: image[key] for key in ("file_name", "height", "width")} for image in listed}
            categories = {category["id"]: str(category["name"]) for category in data["categories"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return cls(Path(folder), images, by_image, categories)

    def choose(self, count: int, limit: int | None) -> list[int]:
        """Images evenly over the evaluated ones, best those with 2 to 12 instances: enough to see, not too many."""
        evaluated = list(self.images)[:limit]
        instances = {i: sum(not a.get("iscrowd") for a in self.annotations.get(i, ())) for i in evaluated}
        good = [image_id for image_id in evaluated if 2 <= instances[image_id] <= 12]
        pool = good if len(good) >= count else [image_id for image_id in evaluated if instances[image_id]]
        places = np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int))
        return [pool[place] for place in places]

    def colour_classes(self, image_ids: Sequence[int]) -> None:
        """Give the classes that stand in these images the colours that are furthest apart."""
        there = {annotation["category_id"] for i in image_ids for annotation in self.annotations.get(i, ())}
        ordered = sorted(self.categories, key=lambda category: category not in there)
        self.colours = {category: class_colour(place) for place, category in enumerate(ordered)}

    def shape(self, image_id: int) -> tuple[int, int]:
        return self.images[image_id]["height"], self.images[image_id]["width"]

    def file_name(self, image_id: int) -> str:
        return str(self.images[image_id]["file_name"])

    def image(self, image_id: int) -> np.ndarray | str:
        """uint8 RGB (H, W, 3), or why it cannot be shown."""
        try:
            with Image.open(self.folder / self.file_name(image_id)) as image:
                pixels = np.asarray(image.convert("RGB"))
        except OSError as error:
            return f"image cannot be read:\n{error.strerror or 'not an image'}"
        return pixels if pixels.shape[:2] == self.shape(image_id) else "image is not of the annotated size"

    def masks(self, image_id: int) -> list[Drawn]:
        """The annotated instances; crowds are left out."""
        return self._drawn(image_id, crowds=False)

    def crowds(self, image_id: int) -> list[Drawn]:
        return self._drawn(image_id, crowds=True)

    def _drawn(self, image_id: int, crowds: bool) -> list[Drawn]:
        chosen = [a for a in self.annotations.get(image_id, ()) if bool(a.get("iscrowd")) == crowds]
        masks = [(_decode(a.get("segmentation"), self.shape(image_id)), a["category_id"]) for a in chosen]
        return [Drawn(mask, category) for mask, category in masks if mask is not None]


def read_predictions(path: Path, image_ids: Sequence[int]) -> dict[int, list[Drawn]] | str:
    """The predictions of some images, or why there are none.

    Read line by line, so that a file of gigabytes is no burden, and a last line that a kill cut off is no error.
    """
    wanted = set(image_ids)
    found: dict[int, list[Drawn]] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not any(int(number) in wanted for number in _IMAGE_ID.findall(line)):
                    continue
                for detection in _objects(line):
                    drawn = _detection(detection) if detection.get("image_id") in wanted else None
                    if drawn is not None:
                        found.setdefault(detection["image_id"], []).append(drawn)
    except OSError:
        return "no predictions file"
    return found


def class_colour(place: int) -> RGB:
    """A vivid colour for the class at this place, neighbours far apart (golden ratio around the hue circle)."""
    return colorsys.hsv_to_rgb((0.08 + place * 0.61803398875) % 1.0, 0.95 - 0.25 * (place // 5 % 2), 1.0)


def draw(image: np.ndarray, masks: Sequence[Drawn], colours: Mapping[int, RGB]) -> np.ndarray:
    """The image with the masks over it, uint8 RGB (H, W, 3); large ones first, so that none is hidden."""
    canvas = image.astype(np.float32)
    width = max(1, round(max(image.shape[:2]) / 300))
    for drawn in sorted(masks, key=lambda drawn: -int(drawn.mask.sum())):
        colour = 255 * np.asarray(colours.get(drawn.category_id, (1.0, 1.0, 1.0)), dtype=np.float32)
        box = _box(drawn.mask)
        mask, part = drawn.mask[box], canvas[box]
        part[mask] = 0.5 * part[mask] + 0.5 * colour
        inner = _eroded(mask, width)
        part[mask & ~inner] = colour
        part[inner & ~_eroded(inner, max(1, width // 2))] = 255
    return canvas.round().astype(np.uint8)


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that the mask lies in."""
    sides = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    rows, columns = (slice(side[0], side[-1] + 1) if len(side) else slice(0) for side in sides)
    return rows, columns


def _eroded(mask: np.ndarray, steps: int) -> np.ndarray:
    """The mask without its outermost pixels; the border of the image counts as outside."""
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def _objects(line: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a line, one or many; ends at the first that is not whole."""
    place = line.find("{")
    while place >= 0:
        try:
            value, end = _DECODER.raw_decode(line, place)
        except ValueError:
            return
        yield value
        place = line.find("{", end)


def _detection(detection: Mapping[str, Any]) -> Drawn | None:
    try:
        mask = _decode(detection["segmentation"], None)
        return None if mask is None else Drawn(mask, int(detection["category_id"]), float(detection["score"]))
    except (KeyError, TypeError, ValueError):
        return None


def _decode(segmentation: Any, shape: tuple[int, int] | None) -> np.ndarray | None:
    """Polygons (``shape`` is needed), uncompressed or compressed RLE to bool (H, W); None for what is neither."""
    try:
        if isinstance(segmentation, list):
            rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, *shape)) if shape else None
        elif isinstance(segmentation["counts"], list):
            rle = coco_mask.frPyObjects(segmentation, *segmentation["size"])
        else:
            rle = segmentation
        return np.asarray(coco_mask.decode(rle), dtype=bool)
    except (KeyError, TypeError, ValueError, IndexError):
        return None
