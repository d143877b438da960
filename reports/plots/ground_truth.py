"""What a panel and a model's page need of a dataset: its images, objects, crowds and the colours of its classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.data.bounds import is_integer, is_number
from bench.data.coco_json import to_rle
from bench.data.dataset import CocoDataset, digest, load
from bench.data.images import read_image
from bench.errors import UserError
from bench.schema.config import DatasetConfig
from bench.schema.row import Row
from reports.plots.masks import RGB, Drawn, class_colour, read_predictions
from reports.table.columns import dataset_files

_BOUNDS: dict[str, Callable[[object], bool]] = {
    "limit": is_integer,
    "max_pixels": is_integer,
    "max_json_gb": is_number,
    "allow_outside": lambda value: isinstance(value, bool),
}


class Datasets:
    """The datasets of a comparison and what was predicted on them, each file read once for all that is drawn of it.

    A result file may come from anybody, and names folders of this machine whose pictures would go into a page. So a
    dataset is shown only where its annotations, and the names and sizes of all its image files, are those that the row
    was measured on, by the digest that the result holds.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[object, ...], GroundTruth | None] = {}
        self._predicted: dict[tuple[Path, tuple[int, ...]], dict[int, list[Drawn]] | str] = {}

    def of(self, row: Row) -> GroundTruth | None:
        """The dataset of a row; None where it is no longer where it was, or is no longer what was measured."""
        key = (*dataset_files(row), measured_digest(row))
        if key not in self._read:
            self._read[key] = GroundTruth.read(_config_of(row), measured_digest(row))
        return self._read[key]

    def predictions(self, path: Path, image_ids: tuple[int, ...]) -> dict[int, list[Drawn]] | str:
        """The predictions of a file on some images, or why there are none; see :func:`read_predictions`."""
        key = path, image_ids
        if key not in self._predicted:
            self._predicted[key] = read_predictions(path, image_ids)
        return self._predicted[key]


def measured_digest(row: Row) -> str:
    """The digest of the dataset that a row was measured on; "" where its result has none."""
    return str(row.result.contents.get("dataset", ""))


def _config_of(row: Row) -> DatasetConfig:
    """The dataset of a row, with the limit and the bounds under which it was measured."""
    images, annotations = dataset_files(row)
    config = DatasetConfig(images=images, annotations=annotations)
    for key, is_right in _BOUNDS.items():
        if is_right(value := row.setting("dataset", key)):
            setattr(config, key, value)
    return config


class GroundTruth:
    """A dataset that gives what is in an image by the id of the image.

    images: the record of every image that was measured, by rising id
    categories, colours: the name and the colour of each category, by its id
    """

    def __init__(self, dataset: CocoDataset, folder: Path) -> None:
        self._folder = folder
        self.images = {record.id: record for record in dataset.images}
        self._annotations = dataset.annotations_by_image()
        self.categories = {category.id: category.name for category in dataset.categories}
        self.colour_classes(())

    @classmethod
    def read(cls, config: DatasetConfig, measured: str) -> GroundTruth | None:
        """The dataset in these places; None where it is not there, is not right, or has another digest."""
        try:
            dataset = load(config)
            return cls(dataset, Path(str(config.images))) if digest(dataset) == measured else None
        except (UserError, OSError):
            return None

    def choose(self, count: int, limit: int | None) -> list[int]:
        """The ids of at most ``count`` images that are spread evenly over the first ``limit``.

        Only images with 2 to 12 instances are taken where there are enough of them: more would hide one another.
        """
        evaluated = list(self.images)[:limit]
        instances = {i: sum(not a["iscrowd"] for a in self._annotations.get(i, ())) for i in evaluated}
        good = [image_id for image_id in evaluated if 2 <= instances[image_id] <= 12]
        pool = good if len(good) >= count else [image_id for image_id in evaluated if instances[image_id]]
        places = np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int))
        return [pool[place] for place in places]

    def colour_classes(self, image_ids: Sequence[int]) -> None:
        """Give the classes that stand in these images the colours that are furthest apart."""
        there = {annotation["category_id"] for i in image_ids for annotation in self._annotations.get(i, ())}
        ordered = sorted(self.categories, key=lambda category: category not in there)
        self.colours: dict[int, RGB] = {category: class_colour(place) for place, category in enumerate(ordered)}

    def shape(self, image_id: int) -> tuple[int, int]:
        """The height and the width of an image in pixels."""
        record = self.images[image_id]
        return record.height, record.width

    def file_name(self, image_id: int) -> str:
        """The path of an image inside the dataset's folder; the bare name of a file that lies elsewhere."""
        path = self.images[image_id].path
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else path.name

    def image(self, image_id: int) -> np.ndarray | str:
        """The image as uint8 RGB (H, W, 3), or why it cannot be shown, without a path of this machine."""
        record = self.images[image_id]
        try:
            return read_image(record)
        except UserError as error:
            reason = str(error).removeprefix(f"{record.path}: ").replace(str(record.path), record.path.name)
            return f"image cannot be shown:\n{reason}"

    def objects(self, image_id: int) -> list[Drawn]:
        """The annotated instances of an image, without its crowds."""
        return self._drawn(image_id, crowds=False)

    def crowds(self, image_id: int) -> list[Drawn]:
        """The crowds of an image, in which a detection is neither right nor wrong."""
        return self._drawn(image_id, crowds=True)

    def _drawn(self, image_id: int, crowds: bool) -> list[Drawn]:
        chosen = [a for a in self._annotations.get(image_id, ()) if bool(a["iscrowd"]) == crowds]
        return [Drawn(to_rle(a["segmentation"], *self.shape(image_id)), a["category_id"]) for a in chosen]
