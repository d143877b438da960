"""A COCO-format dataset, loaded and checked before anything is measured.

``python -m bench.cli.dataset check FILE [--images DIR]`` lists everything that is wrong with such a dataset.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data.coco_json import mask_library, parse_json, read_file, rle_counts, to_rle
from bench.data.images import ImageRecord, image_file_problem
from bench.data.problems import annotation_problems
from bench.errors import UserError, called_as_maskbench, nearest
from bench.files.paths import expanded
from bench.schema.config import MISSING, DatasetConfig

ANNOTATION_KEYS = ("id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd")
"""The keys of COCO's annotations that are kept."""


@dataclass(frozen=True)
class Category:
    """One category of the dataset, by its COCO id."""

    id: int
    name: str


@dataclass
class CocoDataset:
    """A checked COCO-format dataset.

    images:        by rising id, those that ``dataset.limit`` leaves
    total_images:  number of images before the limit
    categories:    by rising id
    annotations:   COCO annotations of ``images``; each has ``area`` (pixels), ``bbox`` (xywh) and ``iscrowd``
    sha256:        of the annotation file
    all_image_ids: ids before the limit, so that a results file made on the whole set fits a limited one
    """

    name: str
    annotations_path: Path
    images: tuple[ImageRecord, ...]
    total_images: int
    categories: tuple[Category, ...]
    annotations: list[dict[str, Any]]
    sha256: str
    all_image_ids: frozenset[int] = field(default=frozenset(), repr=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Category names by rising category id."""
        return tuple(category.name for category in self.categories)

    def first(self, count: int) -> CocoDataset:
        """Return the same set with its first ``count`` images alone."""
        images = self.images[:count]
        kept = {image.id for image in images}
        annotations = [a for a in self.annotations if a["image_id"] in kept]
        return dataclasses.replace(self, images=images, annotations=annotations)

    def annotations_by_image(self) -> dict[int, list[dict[str, Any]]]:
        """Return the annotations of each image that has any, in the order of the file; the same objects, not copies."""
        grouped: dict[int, list[dict[str, Any]]] = {}
        for annotation in self.annotations:
            grouped.setdefault(annotation["image_id"], []).append(annotation)
        return grouped

    def ground_truth(self) -> dict[str, Any]:
        """Return a COCO dict of ``images`` alone, for pycocotools and hotcoco; the evaluators may write into it.

        Where a set counts annotations from 0, all ids rise by one: pycocotools takes a match with annotation 0 for no
        match (cocoeval.py keeps the id of the match and asks whether it is 0), so that mask AP would be too low.
        """
        shift = 1 if any(annotation["id"] == 0 for annotation in self.annotations) else 0
        return {
            "info": {},
            "images": [
                {"id": i.id, "height": i.height, "width": i.width, "file_name": i.path.name} for i in self.images
            ],
            "annotations": [{**a, "id": a["id"] + shift} for a in self.annotations],
            "categories": [{"id": c.id, "name": c.name} for c in self.categories],
        }


def load(config: DatasetConfig) -> CocoDataset:
    """Load and check the dataset; ``dataset.shapes`` is generated first where it is not there yet.

    :func:`check_images` checks the image files.

    Raises:
        UserError: a path or the limit is wrong, or the annotation file has a problem; the message names the first.
    """
    if config.limit is not None and config.limit <= 0:
        raise UserError(f"dataset.limit={config.limit}: must be 1 or more, or null for all images")
    images_path, annotations_path = paths(config)
    content = read_file(annotations_path, "dataset.annotations", config.how_to_get, config.max_json_gb)
    data = parse_json(content, annotations_path, "dataset.annotations")
    if problems := list(annotation_problems(data, config)):
        check = "maskbench check" if called_as_maskbench() else "python -m bench.cli.dataset check"
        more = f" (and {len(problems) - 1} more: {check} {shlex.quote(str(annotations_path))})"
        raise UserError(f"{annotations_path}: {problems[0]}{more if len(problems) > 1 else ''}")
    if not images_path.is_dir():
        hint = f"; {config.how_to_get}" if config.how_to_get else ""
        raise UserError(f"{images_path}: no such folder (dataset.images){hint}")
    sha256 = hashlib.sha256(content).hexdigest()
    return from_coco(config.name, data, images_path, annotations_path, sha256, config.limit)


def training_split(config: DatasetConfig) -> DatasetConfig:
    """Return ``dataset.train`` as a dataset of its own.

    Raises:
        UserError: the configuration has none.
    """
    train = config.train
    if train is None:
        raise UserError(
            f"dataset={config.name}: finetune needs something to learn from; give dataset.train.images=DIR and "
            f"dataset.train.annotations=FILE"
        )
    return dataclasses.replace(
        config,
        name=f"{config.name} train",
        images=train.images,
        annotations=train.annotations,
        limit=train.limit,
        shapes=train.shapes,
        aliases={},
        train=None,
    )


def paths(config: DatasetConfig) -> tuple[Path, Path]:
    """Return the image folder and the annotation file; shapes are generated first where they are not there yet.

    Raises:
        UserError: one of the two is not given.
    """
    if config.shapes is not None:
        from bench.data.shapes import generate

        return generate.ensure(config.shapes)
    missing = [key for key in ("images", "annotations") if getattr(config, key) in (None, "", MISSING)]
    if missing:
        group = "dataset.train" if config.name.endswith(" train") else "dataset"
        keys = " and ".join(f"{group}.{key}=PATH" for key in missing)
        raise UserError(f"dataset={config.name}: give {keys} (the image folder and the COCO annotation file)")
    return expanded(str(config.images), "images"), expanded(str(config.annotations), "annotations")


def from_coco(
    name: str, data: dict[str, Any], images: Path, annotations: Path, sha256: str, limit: int | None = None
) -> CocoDataset:
    """Make the dataset of parsed and checked COCO data.

    Args:
        images: the folder of the image files
        annotations: the file that the data came from, ``sha256`` its digest
        limit: how many images to keep, by rising id
    """
    entries = sorted(data["images"], key=lambda entry: entry["id"])
    records = {
        # "link/../a.jpg" would lead out of the folder where the link does.
        entry["id"]: ImageRecord(
            entry["id"], images / os.path.normpath(entry["file_name"]), entry["height"], entry["width"]
        )
        for entry in entries[:limit]
    }
    return CocoDataset(
        name=name,
        annotations_path=annotations,
        images=tuple(records.values()),
        total_images=len(entries),
        categories=tuple(sorted((Category(c["id"], c["name"]) for c in data["categories"]), key=lambda c: c.id)),
        annotations=[_completed(a, records[a["image_id"]]) for a in data["annotations"] if a["image_id"] in records],
        sha256=sha256,
        all_image_ids=frozenset(entry["id"] for entry in entries),
    )


def _completed(annotation: dict[str, Any], image: ImageRecord) -> dict[str, Any]:
    """Return COCO's own keys of the annotation; where ``area`` and ``bbox`` are absent, they come from the mask.

    What other keys hold was not checked, and an evaluator may take it for something: hotcoco reads a ``score``.
    """
    completed = {key: annotation[key] for key in ANNOTATION_KEYS if key in annotation}
    completed["iscrowd"] = int(annotation.get("iscrowd", 0))
    if isinstance(segmentation := annotation["segmentation"], Mapping):  # a size of 40.0 passes the check too
        completed["segmentation"] = {"size": [image.height, image.width], "counts": segmentation["counts"]}
    if "area" not in annotation or "bbox" not in annotation:
        rle = to_rle(annotation["segmentation"], image.height, image.width)
        completed.setdefault("area", int(rle_counts(rle["counts"])[1::2].sum()))
        completed.setdefault("bbox", [float(v) for v in mask_library().toBbox(rle)])
    return completed


def check_images(dataset: CocoDataset) -> None:
    """Check that every image file is there, is an image, has the size in the annotation file, and is not truncated.

    This is quick: of a JPEG only the header and the end are read.

    Raises:
        UserError: a file is wrong; the message names the first.
    """
    for record in dataset.images:
        if problem := image_file_problem(record.path, record.height, record.width):
            raise UserError(f"{problem} (image id {record.id} of {dataset.annotations_path})")


def digest(dataset: CocoDataset) -> str:
    """Return a digest that differs for sets of different content, and is equal for copies in different folders.

    It is the SHA-256 of the annotation file and of every image file's name and size in bytes. Reading the images
    themselves would take minutes for COCO.
    """
    content = hashlib.sha256(dataset.sha256.encode())
    for record in dataset.images:
        content.update(f"{record.id} {record.path.name} {record.path.stat().st_size}\n".encode())
    return content.hexdigest()


def match_labels(dataset: CocoDataset, classes: Sequence[str], aliases: Mapping[str, str]) -> list[int | None]:
    """Return the dataset's category id for every label of a model, by name; None for a class that the dataset lacks.

    Args:
        classes: the model's class names by label
        aliases: category name of the dataset -> class name of the model

    Raises:
        UserError: a category matches no class, or an alias names no category or no class.
    """
    names = dataset.class_names
    for name, target in aliases.items():
        if name not in names:
            raise UserError(f"dataset.aliases: {name!r} is no category of {dataset.name}; {nearest(name, names)}")
        if target not in classes:
            raise UserError(f"dataset.aliases.{name}: {target!r} is no class of the model; {nearest(target, classes)}")
    wanted: dict[str, int] = {}
    for category in dataset.categories:
        class_name = aliases.get(category.name, category.name)
        if class_name in wanted:
            raise UserError(f"dataset.aliases: two categories of {dataset.name} stand for the class {class_name!r}")
        wanted[class_name] = category.id
    if absent := [name for name in names if aliases.get(name, name) not in classes]:
        shown = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
        raise UserError(
            f"dataset {dataset.name}: {len(absent)} of {len(names)} categories match no class of the model: {shown}; "
            f"give other weights or '+dataset.aliases={{CATEGORY: CLASS}}'; "
            f"{absent[0]!r}: {nearest(absent[0], classes)}"
        )
    return [wanted.get(name) for name in classes]
