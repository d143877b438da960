"""The reader of a COCO results file: it checks the file against the dataset, and converts it to one form."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.bounds import is_integer, is_number, quoted
from bench.data.coco_json import parse_json, read_file, segmentation_problem, to_rle
from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.errors import UserError
from bench.files.paths import expanded
from bench.schema.config import DatasetConfig

KEYS = ("image_id", "category_id", "segmentation", "score")


def read_results(
    path: Path, dataset: CocoDataset, max_gb: float = DatasetConfig.max_json_gb
) -> dict[int, list[dict[str, Any]]]:
    """Read the results of every image of the dataset, by falling score; an image without results has an empty list.

    All results of an image are kept, since the limit of 100 of an image and category is the evaluator's matter. Results
    of images that ``dataset.limit`` leaves out are left out. Segmentations are converted to compressed RLE, ``counts``
    a str. Other keys are dropped, above all ``bbox``: with it, the evaluators take the area of a result from its box.

    Args:
        max_gb: the most gigabytes (10^9 bytes) that the file may have, ``dataset.max_json_gb``

    Raises:
        UserError: the file has a problem; the message names the file, the entry and the key of the first.
    """
    path, key = expanded(path, "model.options.results"), "model.options.results"
    data = parse_json(read_file(path, key, max_gb=max_gb), path, key)
    if not isinstance(data, list):
        raise UserError(f"{path}: must be a COCO results array [{{{', '.join(KEYS)}}}, ...] ({key})")
    sizes = {image.id: (image.height, image.width) for image in dataset.images}
    known = dataset.all_image_ids | sizes.keys()
    categories = {category.id for category in dataset.categories}
    results: dict[int, list[dict[str, Any]]] = {image.id: [] for image in dataset.images}
    for index, entry in enumerate(data):
        if problem := _entry_problem(entry, known, categories):
            raise UserError(f"{path}: entry {index}{problem} (checked against {dataset.annotations_path})")
        image_id = entry["image_id"]
        if image_id in sizes:
            if problem := segmentation_problem(entry["segmentation"], *sizes[image_id]):
                raise UserError(f"{path}: entry {index}: {problem} (image {image_id})")
            results[image_id].append(normalised(entry, *sizes[image_id]))
    for entries in results.values():
        entries.sort(key=lambda entry: -entry["score"])
    return results


def normalised(entry: Mapping[str, Any], height: int, width: int) -> dict[str, Any]:
    """Return a checked result with COCO's four keys alone, its segmentation as compressed RLE."""
    return {
        "image_id": entry["image_id"],
        "category_id": entry["category_id"],
        "segmentation": to_rle(entry["segmentation"], height, width),
        "score": float(entry["score"]),
    }


def refuse_results(results: Any, record: ImageRecord, categories: Collection[int], method: str) -> None:
    """Check the results that a class's ``method`` gave for one image.

    categories: the ids that the dataset has

    Raises:
        ValueError: the message names the method, the image, the entry, the key, and what is promised.
    """
    where = f"{method}: image {record.id}"
    if not isinstance(results, list):
        raise ValueError(f"{where}: gave a {type(results).__name__}, must be a list of COCO results")
    for index, entry in enumerate(results):
        if isinstance(entry, dict) and isinstance(entry.get("score"), np.floating):  # no number to JSON, but to a class
            entry = {**entry, "score": float(entry["score"])}
        problem = _entry_problem(entry, (record.id,), categories)
        if problem is None and (wrong := segmentation_problem(entry["segmentation"], record.height, record.width)):
            problem = f": {wrong}"
        if problem is None and index and entry["score"] > results[index - 1]["score"]:
            problem = f": score {entry['score']} is above the one before, must be ordered by falling score"
        if problem:
            raise ValueError(f"{where}: entry {index}{problem}")


def _entry_problem(entry: Any, images: Collection[int], categories: Collection[int]) -> str | None:
    if not isinstance(entry, dict):
        return f" is {quoted(entry)}, must be an object with {', '.join(KEYS)}"
    if missing := [key for key in KEYS if key not in entry]:
        return f": {missing[0]} is missing, every result has {', '.join(KEYS)}"
    if not is_integer(entry["image_id"]) or entry["image_id"] not in images:
        return f": image_id {quoted(entry['image_id'])} is no image of the dataset"
    if not is_integer(entry["category_id"]) or entry["category_id"] not in categories:
        return f": category_id {quoted(entry['category_id'])} is no category of the dataset"
    if not is_number(entry["score"]):
        return f": score is {quoted(entry['score'])}, must be a finite number"
    return None
