"""What a panel and a model's page need of a dataset: its images, objects, crowds and the colours of its classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench.data.bounds import is_integer, is_number
from bench.data.coco_json import to_rle
from bench.data.dataset import CocoDataset, digest, load
from bench.data.ids import Id
from bench.errors import UserError
from bench.schema.config import EXIFS, FORMATS, WITHOUT_MASK, DatasetConfig
from bench.schema.row import Row
from reports.masks.drawing import RGB, Drawn, class_colour
from reports.masks.judged import Rules
from reports.masks.outline import outline
from reports.masks.photograph import drawing_size, read_photograph
from reports.masks.predictions import Predicted, read_predictions
from reports.table.columns import dataset_files, evaluated_without_images

MOST_OBJECTS = 2000
"""So many objects of an image are drawn at most."""

IMAGES_KEPT = 24
"""So many images are kept at the size of a drawing."""

MADE_KEPT = 400
"""So many things that are made of an image are kept, each of some ten kilobytes."""

T = TypeVar("T")

PREDICTED_BYTES = 64 << 20
"""How much the masks may take that are kept for the next panel."""


def _is_range(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[0] < value[1]


_READING: dict[str, Callable[[object], bool]] = {
    "exif": lambda value: value in EXIFS,
    "image_range": _is_range,
    "without_mask": lambda value: value in WITHOUT_MASK,
    "format": lambda value: value in FORMATS,
    "split": lambda value: isinstance(value, str),
}
"""The keys that say what an image looks like and which objects it has, and which of their values are possible."""

_BOUNDS: dict[str, Callable[[object], bool]] = {
    "limit": is_integer,
    "max_pixels": is_integer,
    "max_json_gb": is_number,
    "allow_outside": lambda value: isinstance(value, bool),
    "strict": lambda value: isinstance(value, bool),
}


class Datasets:
    """The datasets of a comparison and what was predicted on them, each file read once for all that is drawn of it.

    A result file may come from anybody, and names folders of this machine whose pictures would go into a page. So a
    dataset is shown only where its annotations, and the names, sizes and samples of its image files, are those that the
    row was measured on, by the digest that the result holds.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[str, ...], GroundTruth | None] = {}
        self._predicted: dict[tuple[object, ...], dict[Id, Predicted] | str] = {}

    def of(self, row: Row) -> GroundTruth | None:
        """The dataset of a row; None where it had no images, is no longer where it was, or what was measured."""
        if evaluated_without_images(row):
            return None
        config = _config_of(row)
        key = (*measured_on(row), *(str(getattr(config, name)) for name in _BOUNDS))
        if key not in self._read:
            self._read[key] = GroundTruth.read(config, measured_digest(row))
        return self._read[key]

    def predictions(
        self, row: Row, truth: GroundTruth, image_ids: Sequence[Id], least: float, most: int
    ) -> dict[Id, Predicted] | str:
        """The predictions of a row on some images, or why there are none; see :func:`read_predictions`."""
        path, sha256 = predictions_path(row), predictions_sha256(row)
        key = path, sha256, tuple(image_ids), least, most
        if key not in self._predicted:
            self._predicted[key] = read_predictions(path, truth.shapes(image_ids), least, most, sha256)
            while len(self._predicted) > 1 and sum(map(_bytes, self._predicted.values())) > PREDICTED_BYTES:
                del self._predicted[next(iter(self._predicted))]
        return self._predicted[key]


def _bytes(predictions: dict[Id, Predicted] | str) -> int:
    return 0 if isinstance(predictions, str) else sum(predicted.bytes for predicted in predictions.values())


def predictions_path(row: Row) -> Path:
    """The path of a row's results file, whether it is there or not; it lies beside the row's ``result.json``."""
    accuracy = row.result.accuracy
    return row.path.parent / (Path(accuracy.predictions).name if accuracy else "predictions.json")


def predictions_sha256(row: Row) -> str | None:
    """The SHA-256 of the results file that a row's figures are of; None where its result has none."""
    return row.result.accuracy.predictions_sha256 if row.result.accuracy else None


def measured_digest(row: Row) -> str:
    """The digest of the dataset that a row was measured on; "" where its result has none."""
    return str(row.result.contents.get("dataset", ""))


def measured_on(row: Row) -> tuple[str, ...]:
    """What a row was measured on: the files of its dataset, what was in them, and how they were read."""
    config = _config_of(row)
    return (*dataset_files(row), measured_digest(row), *(str(getattr(config, key)) for key in _READING))


def _config_of(row: Row) -> DatasetConfig:
    """The dataset of a row, with the limit and the bounds under which it was measured, read as it was read there."""
    images, annotations = dataset_files(row)
    config = DatasetConfig(images=images, annotations=annotations)
    for key, is_right in {**_READING, **_BOUNDS}.items():
        if is_right(value := row.setting("dataset", key)):
            setattr(config, key, value)
    return config


class GroundTruth:
    """A dataset that gives what is in an image by the id of the image.

    Annotations are kept as JSON, which takes a tenth of the memory of its parsed form.

    images: the record of every image that was measured, by rising id
    instances: the number of objects of each image that has annotations, without its crowds
    categories, colours: the name and the colour of each category, by its id
    """

    def __init__(self, dataset: CocoDataset, folder: Path) -> None:
        self._folder = folder
        self.images = {record.id: record for record in dataset.images}
        self.instances: dict[Id, int] = {}
        self._annotations: dict[Id, str] = {}
        for image_id, of_image in dataset.annotations_by_image().items():
            self.instances[image_id] = sum(not annotation["iscrowd"] for annotation in of_image)
            kept = [[a["category_id"], a["iscrowd"], a["segmentation"]] for a in of_image]
            self._annotations[image_id] = json.dumps(kept, separators=(",", ":"))
        self.categories = {category.id: category.name for category in dataset.categories}
        self._federation = dataset.federation
        self._pictures: dict[tuple[Id, int], np.ndarray | str] = {}
        self._made: dict[tuple[str, Id], Any] = {}
        self.colour_classes(())

    @classmethod
    def read(cls, config: DatasetConfig, measured: str) -> GroundTruth | None:
        """The dataset in these places; None where it is not there, is not right, or has another digest."""
        try:
            dataset = load(config)
            is_measured = dataset.has_images and digest(dataset) == measured
            return cls(dataset, Path(str(config.images))) if is_measured else None
        except (UserError, OSError):
            return None

    def choose(self, count: int, limit: int | None) -> list[Id]:
        """The ids of at most ``count`` images that are spread evenly over the first ``limit``.

        Only images with 2 to 12 instances are taken where there are enough of them: more would hide one another.
        """
        evaluated = list(self.images)[:limit]
        good = [image_id for image_id in evaluated if 2 <= self.instances.get(image_id, 0) <= 12]
        pool = good if len(good) >= count else [image_id for image_id in evaluated if self.instances.get(image_id)]
        places = np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int))
        return [pool[place] for place in places]

    def colour_classes(self, image_ids: Sequence[Id]) -> None:
        """Give the classes that stand in these images the colours that are furthest apart."""
        there = {category_id for image_id in image_ids for category_id, _, _ in self._annotated(image_id)}
        ordered = sorted(self.categories, key=lambda category: category not in there)
        self.colours: dict[Id, RGB] = {category: class_colour(place) for place, category in enumerate(ordered)}

    def shape(self, image_id: Id) -> tuple[int, int]:
        """The height and the width of an image in pixels."""
        record = self.images[image_id]
        return record.height, record.width

    def shapes(self, image_ids: Sequence[Id]) -> dict[Id, tuple[int, int]]:
        """The height and the width of those of these images that the dataset has."""
        return {image_id: self.shape(image_id) for image_id in image_ids if image_id in self.images}

    def file_name(self, image_id: Id) -> str:
        """The path of an image inside the dataset's folder; the bare name of a file that lies elsewhere."""
        path = self.images[image_id].path
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else path.name

    def image(self, image_id: Id, most: int) -> np.ndarray | str:
        """The image for a drawing whose longer side has ``most`` pixels, uint8 RGB (H, W, 3), or why it cannot be
        shown, without a path of this machine."""
        key = image_id, most
        if key not in self._pictures:
            if len(self._pictures) == IMAGES_KEPT:
                del self._pictures[next(iter(self._pictures))]
            self._pictures[key] = self._photograph(image_id, most)
        return self._pictures[key]

    def _photograph(self, image_id: Id, most: int) -> np.ndarray | str:
        record = self.images[image_id]
        try:
            return read_photograph(record, most)
        except UserError as error:
            reason = str(error).removeprefix(f"{record.path}: ").replace(str(record.path), record.path.name)
            return f"image cannot be shown:\n{reason}"

    def objects(self, image_id: Id) -> list[Drawn]:
        """The annotated instances of an image without its crowds, the first :data:`MOST_OBJECTS`."""
        return self._drawn(image_id, crowds=False)

    def crowds(self, image_id: Id) -> list[Drawn]:
        """The crowds of an image, in which a detection is neither right nor wrong, the first :data:`MOST_OBJECTS`."""
        return self._drawn(image_id, crowds=True)

    def outlines(self, image_id: Id, most: int) -> list[tuple[str, bool]]:
        """The outlines of the objects and then of the crowds of an image, in a drawing whose longer side has ``most``
        pixels; see :func:`reports.masks.outline.outline`."""

        def made() -> list[tuple[str, bool]]:
            size = drawing_size(*self.shape(image_id), most)
            return [outline(one.at, *size) for one in (*self.objects(image_id), *self.crowds(image_id))]

        return self.once(f"outlines {most}", image_id, made)

    def once(self, name: str, image_id: Id, make: Callable[[], T]) -> T:
        """What ``make`` gives under this name for an image, made once: many rows did worst on the same images."""
        key = name, image_id
        if key not in self._made:
            if len(self._made) == MADE_KEPT:
                del self._made[next(iter(self._made))]
            self._made[key] = make()
        return self._made[key]

    def rules(self, image_id: Id, most: int) -> Rules:
        """Which detections of an image count; ``most`` is the limit of detections of the row's evaluation."""
        if self._federation is None:
            return Rules(most)
        annotated = {category_id for category_id, _, _ in self._annotated(image_id)}
        counted = frozenset(annotated | self._federation.absent[image_id])
        return Rules(most, counted, self._federation.incomplete[image_id])

    def _drawn(self, image_id: Id, crowds: bool) -> list[Drawn]:
        chosen = [(of, segmentation) for of, crowd, segmentation in self._annotated(image_id) if bool(crowd) == crowds]
        return [Drawn(to_rle(segmentation, *self.shape(image_id)), of) for of, segmentation in chosen[:MOST_OBJECTS]]

    def _annotated(self, image_id: Id) -> list[tuple[Id, int, Any]]:
        """The category, ``iscrowd`` and segmentation of each annotation of an image."""
        return json.loads(self._annotations.get(image_id, "[]"))
