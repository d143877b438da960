"""The images by which an int8 file is calibrated: always those of the train set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from bench.data.images import ImageRecord
    from bench.schema.config import DatasetConfig

IMAGES = 100
"""How many images are taken where no number is given."""


@dataclass(frozen=True)
class Calibration:
    """Images of a train set, and how a row names them."""

    records: tuple[ImageRecord, ...]
    words: str

    def images(self) -> Iterator[np.ndarray]:
        """Read one image after the other: uint8 RGB (H, W, 3)."""
        from bench.data.images import read_images

        for record in self.records:
            yield read_images([record])[0]


def calibration_images(config: DatasetConfig, count: int) -> Calibration:
    """Choose images of ``dataset.train``, evenly over the set in its order.

    Raises:
        UserError: the data set has no train set, or fewer images in it; or one of the chosen images is also one that AP
            is measured on, which would make the AP of the int8 file too high.
    """
    from bench.data.dataset import load, require_images, training_split

    if count < 1:
        raise UserError(f"--calibration-images {count}: must be at least 1")
    if config.train is None or not (config.train.shapes or config.train.annotations or config.format == "yolo"):
        raise UserError(
            f"dataset={config.name}: --int8 is calibrated on images of the train set, and there is none; give "
            f"dataset.train.images=DIR dataset.train.annotations=FILE"
        )
    asked = training_split(config)
    train = load(asked)
    require_images(train, asked, "--int8")
    if len(train.images) < count:
        raise UserError(
            f"--calibration-images {count}: {asked.name} has {len(train.images)} images; give "
            f"--calibration-images {len(train.images)}"
        )
    chosen = tuple(train.images[place * len(train.images) // count] for place in range(count))
    _refuse_measured(chosen, load(dataclasses.replace(config, limit=None)).images, config.name)
    return Calibration(chosen, f"{count} images of {asked.name}")


def _refuse_measured(chosen: tuple[ImageRecord, ...], measured: tuple[ImageRecord, ...], name: str) -> None:
    """Refuse images whose files have the content of one that is measured, whatever their names are."""
    from bench.files.digests import sha256_of

    by_size: dict[int, set[str]] = {}
    for record in measured:
        if record.path.is_file():
            by_size.setdefault(record.path.stat().st_size, set()).add(str(record.path))
    for record in chosen:
        same_size = by_size.get(record.path.stat().st_size, ())
        if any(sha256_of(path) == sha256_of(record.path) for path in same_size):
            raise UserError(
                f"{record.path}: this image of dataset.train is also one of dataset={name}, on which AP is measured, "
                f"so the AP of an int8 file would be too high; give other images as dataset.train"
            )
