"""The promise of a class that gives its results itself: they are in the form of COCO, and complete."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from bench.data.bounds import is_number, quoted
from bench.data.coco_json import segmentation_problem, to_rle
from bench.data.ids import Id, as_id
from bench.data.images import ImageRecord
from bench.data.results.kinds import KEYS


def normalised(entry: Mapping[str, Any], record: ImageRecord) -> dict[str, Any]:
    """Return a checked result of an image with COCO's four keys alone, its segmentation as compressed RLE."""
    return {
        "image_id": record.id,
        "category_id": as_id(entry["category_id"]),
        "segmentation": to_rle(entry["segmentation"], record.height, record.width),
        "score": float(entry["score"]),
    }


def refuse_results(results: Any, record: ImageRecord, categories: Collection[Id], method: str) -> None:
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
        problem = _entry_problem(entry, record.id, categories)
        if problem is None and (wrong := segmentation_problem(entry["segmentation"], record.height, record.width)):
            problem = f": {wrong}"
        if problem is None and index and entry["score"] > results[index - 1]["score"]:
            problem = f": score {entry['score']} is above the one before, must be ordered by falling score"
        if problem:
            raise ValueError(f"{where}: entry {index}{problem}")


def _entry_problem(entry: Any, image: Id, categories: Collection[Id]) -> str | None:
    if not isinstance(entry, dict):
        return f" is {quoted(entry)}, must be an object with {', '.join(KEYS)}"
    if missing := [key for key in KEYS if key not in entry]:
        return f": {missing[0]} is missing, every result has {', '.join(KEYS)}"
    if as_id(entry["image_id"]) != image:
        return f": image_id {quoted(entry['image_id'])} is not {image!r}, the image that was asked for"
    if as_id(entry["category_id"]) not in categories:
        return f": category_id {quoted(entry['category_id'])} is no category of the dataset"
    if not is_number(entry["score"]):
        return f": score is {quoted(entry['score'])}, must be a finite number"
    return None
