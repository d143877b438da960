"""A dataset, COCO, LVIS or YOLO, loaded and checked before anything is measured.

``python -m bench.cli.dataset check FILE [--images DIR]`` lists everything that is wrong with such a dataset.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data import image_check
from bench.data.bucket.copied import Progress, is_address, local_copy
from bench.data.coco_json import mask_library, rle_counts, to_rle
from bench.data.findings import Finding, Findings
from bench.data.forms.federation import Federation
from bench.data.forms.read import Read, read_set
from bench.data.ids import Id, rising
from bench.data.images import ImageRecord, Reading
from bench.data.names import locate, name_of
from bench.data.problems import ANNOTATION_KEYS
from bench.data.yolo.convert import root_of
from bench.data.yolo.data_yaml import group_of
from bench.errors import UserError, called_as_maskbench
from bench.files.collector import collector_off
from bench.files.digests import samples_sha256
from bench.files.paths import expanded
from bench.private.texts import without_credentials
from bench.schema.config import MISSING, DatasetConfig


@dataclass(frozen=True)
class Category:
    """One category of the dataset, by its COCO id."""

    id: Id
    name: str


@dataclass
class CocoDataset:
    """A checked COCO-format dataset.

    images:        by rising id, those that ``dataset.limit`` leaves
    total_images:  number of images before the limit
    categories:    by rising id
    annotations:   COCO annotations of ``images``; each has ``area`` (pixels), ``bbox`` (xywh) and ``iscrowd``. Their
                   ``id`` is their place in the file, counted from 1
    sha256:        of the annotation file
    file_names:    id -> ``file_name`` as the file has it, of all images before the limit: a results file made on the
                   whole set fits a limited one, and its ids may be names of files
    has_images:    whether there is an image folder; without one, ``path`` of an image is its name alone
    notes:         what was repaired or must be known, a line for each kind
    federation:    of an LVIS set, by whose rules it is evaluated; None for all others
    """

    name: str
    annotations_path: Path
    images: tuple[ImageRecord, ...]
    total_images: int
    categories: tuple[Category, ...]
    annotations: list[dict[str, Any]]
    sha256: str
    file_names: Mapping[Id, str] = field(default_factory=dict, repr=False)
    has_images: bool = True
    notes: tuple[str, ...] = ()
    federation: Federation | None = None

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

    def annotations_by_image(self) -> dict[Id, list[dict[str, Any]]]:
        """Return the annotations of each image that has any, in the order of the file; the same objects, not copies."""
        grouped: dict[Id, list[dict[str, Any]]] = {}
        for annotation in self.annotations:
            grouped.setdefault(annotation["image_id"], []).append(annotation)
        return grouped

    def ground_truth(self) -> dict[str, Any]:
        """Return a COCO dict of ``images`` alone, for pycocotools and hotcoco; the evaluators may write into it.

        Its ids count ``images``, ``categories`` and ``annotations`` from 1, in their order here, whatever the ids of
        the file are. pycocotools takes a match with annotation 0 for no match (cocoeval.py keeps the id of the match
        and asks whether it is 0), and neither evaluator takes a text or any whole number.
        """
        image_numbers = {image.id: number for number, image in enumerate(self.images, start=1)}
        category_numbers = {category.id: number for number, category in enumerate(self.categories, start=1)}
        return {
            "info": {},
            "images": [
                {"id": image_numbers[i.id], "height": i.height, "width": i.width, "file_name": i.path.name}
                for i in self.images
            ],
            "annotations": [
                {
                    **annotation,
                    "id": number,
                    "image_id": image_numbers[annotation["image_id"]],
                    "category_id": category_numbers[annotation["category_id"]],
                }
                for number, annotation in enumerate(self.annotations, start=1)
            ],
            "categories": [{"id": category_numbers[c.id], "name": c.name} for c in self.categories],
        }


def load(config: DatasetConfig) -> CocoDataset:
    """Load and check the dataset; ``dataset.shapes`` is generated first where it is not there yet.

    :func:`check_images` checks the image files. Without an image folder the dataset is read without images, which is
    enough for results that a model has given elsewhere; :func:`require_images` refuses it for what reads pixels.

    Raises:
        UserError: a path or the limit is wrong, or the annotation file has a problem; the message names the first.
    """
    if config.limit is not None and config.limit <= 0:
        raise UserError(f"dataset.limit={config.limit}: must be 1 or more, or null for all images")
    images_path, annotations_path = paths(config)
    with collector_off():
        return _loaded(config, images_path, annotations_path)


def _loaded(config: DatasetConfig, images_path: Path | None, annotations_path: Path) -> CocoDataset:
    findings = Findings()
    read = read_set(annotations_path, images_path, f"{group_of(config)}.annotations", config, findings)
    _refuse(findings.problems(config.strict), annotations_path, config)
    loaded = made_of(read, annotations_path, config, findings)
    _refuse(findings.problems(config.strict), annotations_path, config)
    return loaded


def made_of(read: Read, annotations: Path, config: DatasetConfig, findings: Findings) -> CocoDataset:
    """Make the dataset of an annotation file that was read, with the first ``config.limit`` images.

    findings: gets what is wrong with the names of image files
    """
    config = dataclasses.replace(config, exif=read.exif)
    where = (read.images, annotations, read.sha256, config.limit)
    made = from_coco(config.name, read.data, *where, config=config, findings=findings)
    return dataclasses.replace(made, federation=read.federation)


def _refuse(problems: list[Finding], path: Path, config: DatasetConfig) -> None:
    """Raise a UserError with the first of the problems, and the command that lists the others."""
    if not problems:
        return
    kinds = len(problems) - 1
    more = f"; {kinds} more kind{'s' if kinds > 1 else ''} of problems: {check_command(path, config)}" if kinds else ""
    strict = "dataset.strict=true refuses what would be repaired: " if problems[0].is_repair else ""
    raise UserError(f"{path}: {strict}{problems[0].line()}{more}")


def check_command(path: Path, config: DatasetConfig) -> str:
    """Give the command that lists what is wrong with an annotation file under these keys, ready to paste."""
    check = "maskbench check" if called_as_maskbench() else "python -m bench.cli.dataset check"
    keys = (
        "split",
        "limit",
        "max_pixels",
        "max_json_gb",
        "allow_outside",
        "exif",
        "image_range",
        "without_mask",
        "strict",
    )
    given = {key: value for key in keys if (value := getattr(config, key)) != getattr(DatasetConfig, key)}
    images = ["--images", shlex.quote(str(config.images))] if config.images not in (None, "", MISSING) else []
    words = [shlex.quote(f"dataset.{key}={json.dumps(value).strip(chr(34))}") for key, value in given.items()]
    return " ".join([check, shlex.quote(str(path)), *images, *words])


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
    same_file = config.format == "yolo" and train.annotations in (None, "", MISSING)
    return dataclasses.replace(
        config,
        name=f"{config.name} train",
        images=config.images if same_file and not train.images else train.images,
        annotations=config.annotations if same_file else train.annotations,
        split=train.split,
        limit=train.limit,
        shapes=train.shapes,
        aliases={},
        train=None,
    )


def require_images(dataset: CocoDataset, config: DatasetConfig, reader: str) -> None:
    """Check that a dataset has its images.

    reader: what reads them, as the message names it: ``model=yolo``

    Raises:
        UserError: the configuration names no image folder, or one that is not there.
    """
    if dataset.has_images:
        return
    key = f"{group_of(config)}.images"
    if config.images in (None, "", MISSING):
        raise UserError(f"dataset={config.name}: {reader} reads images; give {key}=PATH (the image folder)")
    hint = f"; {config.how_to_get}" if config.how_to_get else ""
    raise UserError(f"{expanded(str(config.images), 'images')}: no such folder ({key}){hint}")


def paths(config: DatasetConfig) -> tuple[Path | None, Path]:
    """Return the image folder and the annotation file, on this machine.

    Shapes are generated first where they are not there yet, and what lies in a bucket is copied. The folder is None
    where none is given, or where what is given is no folder. Of a YOLO set they are the folder that stands for
    ``path:``, and ``data.yaml``.

    Raises:
        UserError: no annotation file is given, or it cannot be had from its bucket.
    """
    if config.shapes is not None:
        from bench.data.shapes import generate

        return generate.ensure(config.shapes)
    config = local(config)
    missing = [key for key in ("images", "annotations") if getattr(config, key) in (None, "", MISSING)]
    group = group_of(config)
    if "annotations" in missing and config.format == "yolo":
        raise UserError(f"dataset={config.name}: give {group}.annotations=PATH (the data.yaml of the set)")
    if "annotations" in missing:
        keys = " and ".join(f"{group}.{key}=PATH" for key in missing)
        what = "LVIS" if config.format == "lvis" else "COCO"
        raise UserError(f"dataset={config.name}: give {keys} (the image folder and the {what} annotation file)")
    if config.format == "yolo":
        file = expanded(str(config.annotations), "annotations")
        return root_of(file, f"{group}.annotations", config), file
    images = None if missing else expanded(str(config.images), "images")
    return images if images is not None and images.is_dir() else None, expanded(str(config.annotations), "annotations")


def local(config: DatasetConfig, progress: Progress = lambda done, total: None) -> DatasetConfig:
    """Return the configuration with copies on this machine in the place of addresses in a bucket.

    progress: is told of a copy that is made, in bytes: how many are there, of how many

    Raises:
        UserError: a copy cannot be had, or the set is one of YOLO.
    """
    group = group_of(config)
    addresses = {name: path for name in ("annotations", "images") if is_address(path := getattr(config, name))}
    for name, address in addresses.items():
        if config.format == "yolo":
            raise UserError(
                f"{group}.{name}={without_credentials(address)}: a data.yaml names folders of one machine; copy the "
                f"set to this machine and give {group}.annotations=PATH"
            )
    here: dict[str, Any] = {
        name: str(local_copy(address, f"{group}.{name}", folder=name == "images", progress=progress))
        for name, address in addresses.items()
    }
    return dataclasses.replace(config, **here) if here else config


def from_coco(
    name: str,
    data: dict[str, Any],
    images: Path | None,
    annotations: Path,
    sha256: str,
    limit: int | None = None,
    *,
    config: DatasetConfig | None = None,
    findings: Findings | None = None,
) -> CocoDataset:
    """Make the dataset of parsed and checked COCO data.

    Args:
        images: the folder of the image files; None where there is none
        annotations: the file that the data came from, ``sha256`` its digest
        limit: how many images to keep, by rising id
        config: says how images are read, and whether a file may lie outside of the folder
        findings: has what was repaired, and gets what is wrong with the names of files
    """
    config, findings = config or DatasetConfig(), findings or Findings()
    entries = sorted(data["images"], key=lambda entry: rising(entry["id"]))
    kept, reading = entries[:limit], _reading(config)
    records = {
        entry["id"]: ImageRecord(entry["id"], path, entry["height"], entry["width"], reading)
        for entry, path in zip(kept, locate(kept, images, config.allow_outside, findings), strict=True)
    }
    categories = [Category(c["id"], c["name"]) for c in data["categories"]]
    return CocoDataset(
        name=name,
        annotations_path=annotations,
        images=tuple(records.values()),
        total_images=len(entries),
        categories=tuple(sorted(categories, key=lambda category: rising(category.id))),
        annotations=[_completed(a, records[a["image_id"]]) for a in data["annotations"] if a["image_id"] in records],
        sha256=sha256,
        file_names={entry["id"]: name_of(entry) for entry in entries},
        has_images=images is not None,
        notes=tuple(found.line() for found in (*findings.repairs(), *findings.notes())),
    )


def _reading(config: DatasetConfig) -> Reading:
    darkest_brightest = config.image_range
    if darkest_brightest is None:
        return Reading(config.exif)
    return Reading(config.exif, (darkest_brightest[0], darkest_brightest[1]))


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


def check_images(dataset: CocoDataset, config: DatasetConfig | None = None) -> list[str]:
    """Check the image files, as :func:`bench.data.image_check.check_images` does.

    config: that of the dataset, for the command that lists all problems

    Returns:
        a line for each kind of what is no problem, and what a reader of the figures must know

    Raises:
        UserError: files are wrong; the message tells the first kind of problem.
    """
    findings = Findings()
    image_check.check_images(dataset, findings)
    _refuse(findings.problems(), dataset.annotations_path, config or DatasetConfig())
    return [note.line() for note in findings.notes()]


def digest(dataset: CocoDataset) -> str:
    """Return a digest that differs for sets of different content, and is equal for copies in different folders.

    It is the SHA-256 of the annotation file, of a YOLO set that of all its labels, and of every image file's name, size
    in bytes and a sample of its content (:func:`bench.files.digests.samples_sha256`): uncompressed images of one size
    have as many bytes, whatever they show. To read the images whole would take minutes for COCO. Without images it says
    nothing of them.

    Raises:
        OSError: an image file cannot be read.
    """
    content = hashlib.sha256(dataset.sha256.encode())
    if dataset.has_images:
        for record in dataset.images:
            content.update(f"{record.id} {record.path.name}\n".encode())
        content.update(samples_sha256([record.path for record in dataset.images]).encode())
    return content.hexdigest()
