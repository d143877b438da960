"""All problems of a COCO-format annotation file, one line each, in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.data.bounds import (
    MAX_CATEGORIES,
    MAX_EDGE,
    MAX_ID,
    MAX_NAME,
    MAX_PATH,
    MAX_PIXELS,
    is_id,
    is_integer,
    is_number,
    leaves_folder,
    quoted,
    text_problem,
)
from bench.data.coco_json import segmentation_problem
from bench.schema.config import DatasetConfig


def annotation_problems(data: Any, config: DatasetConfig) -> Iterator[str]:
    """Yield the problems of a parsed annotation file: the place (list, index, id, key), and what would be right.

    Args:
        config: says how many pixels an image may have, and whether a path may lead out of the image folder
    """
    if not isinstance(data, dict):
        yield f"is a JSON {_kind(data)}, must be a COCO object with images, annotations and categories"
        return
    whole = True
    for key in ("images", "annotations", "categories"):
        if key not in data:
            yield f"{key} is missing, a COCO file has images, annotations and categories"
            whole = False
        elif not isinstance(data[key], list):
            yield f"{key} is a JSON {_kind(data[key])}, must be a list"
            whole = False
    if whole and (number := len(data["categories"])) > MAX_CATEGORIES:
        yield f"categories has {number} entries, may have {MAX_CATEGORIES} at most; leave out those without objects"
        whole = False
    if not whole:
        return
    sizes: dict[int, tuple[int, int] | None] = {}
    categories: dict[int, str] = {}
    yield from _category_problems(data["categories"], categories)
    yield from _image_entry_problems(data["images"], sizes, config)
    yield from _annotation_entry_problems(data["annotations"], sizes, categories)


def _category_problems(entries: list[Any], categories: dict[int, str]) -> Iterator[str]:
    """Yield the problems of the categories; fill ``categories`` with id -> name."""
    if not entries:
        yield "categories is empty, at least one category is needed"
    names: dict[str, int] = {}
    for index, entry in enumerate(entries):
        where = f"categories[{index}]"
        if problem := _id_problem(entry, categories):
            yield f"{where}{problem}"
            continue
        name = entry.get("name")
        where = f"{where} (id {entry['id']})"
        categories[entry["id"]] = quoted(name)
        if not isinstance(name, str) or not name:
            yield f"{where}: name is {quoted(name)}, must be a string"
        elif problem := text_problem(name, MAX_NAME):
            yield f"{where}: name {quoted(name)} {problem}"
        elif name in names:
            yield f"{where}: name {quoted(name)} is also the name of id {names[name]}, must be unique"
        else:
            names[name] = entry["id"]


def _image_entry_problems(
    entries: list[Any], sizes: dict[int, tuple[int, int] | None], config: DatasetConfig
) -> Iterator[str]:
    """Yield the problems of the images; fill ``sizes`` with id -> (height, width), None where that is unknown."""
    if not entries:
        yield "images is empty, there is nothing to evaluate"
    for index, entry in enumerate(entries):
        where = f"images[{index}]"
        if problem := _id_problem(entry, sizes):
            yield f"{where}{problem}"
            continue
        where = f"{where} (id {entry['id']})"
        problem = _size_problem(entry, config.max_pixels)
        sizes[entry["id"]] = None if problem else (entry["height"], entry["width"])
        if problem:
            yield f"{where}: {problem}"
        if problem := _file_name_problem(entry.get("file_name"), config.allow_outside):
            yield f"{where}: {problem}"


def _size_problem(entry: dict[str, Any], max_pixels: int) -> str | None:
    height, width = entry.get("height"), entry.get("width")
    if not (is_integer(height) and is_integer(width) and height > 0 and width > 0):
        return f"height and width are {quoted(height)} and {quoted(width)}, must be whole numbers of pixels"
    size = f"{quoted(entry.get('file_name'))} is of {quoted(height)} x {quoted(width)} pixels (height x width)"
    if max(height, width) > MAX_EDGE or height * width > MAX_PIXELS:
        return f"{size}, the most is {MAX_EDGE} for an edge and {MAX_PIXELS} in all"
    if height * width > max_pixels:
        return (
            f"{size}, more than dataset.max_pixels={max_pixels}; where a model has the memory for it, give "
            f"dataset.max_pixels={height * width}"
        )
    return None


def _file_name_problem(name: Any, allow_outside: bool) -> str | None:
    if not isinstance(name, str) or not name:
        return f"file_name is {quoted(name)}, must be a path relative to the image folder"
    if problem := text_problem(name, MAX_PATH):
        return f"file_name {quoted(name)} {problem}"
    if not allow_outside and leaves_folder(name):
        return (
            f"file_name {quoted(name)} lies outside the image folder; if you trust this file with your other images, "
            f"give dataset.allow_outside=true"
        )
    return None


def _annotation_entry_problems(
    entries: list[Any], sizes: dict[int, tuple[int, int] | None], categories: dict[int, str]
) -> Iterator[str]:
    seen: set[int] = set()
    for index, entry in enumerate(entries):
        where = f"annotations[{index}]"
        if problem := _id_problem(entry, seen):
            yield f"{where}{problem}"
            continue
        seen.add(entry["id"])
        where = f"{where} (id {entry['id']})"
        image_id, category_id = entry.get("image_id"), entry.get("category_id")
        if not is_integer(image_id) or image_id not in sizes:
            yield f"{where}: image_id {quoted(image_id)} is no image of this file"
        if not is_integer(category_id) or category_id not in categories:
            yield f"{where}: category_id {quoted(category_id)} is no category of this file"
        if entry.get("iscrowd", 0) not in (0, 1):
            yield f"{where}: iscrowd is {quoted(entry['iscrowd'])}, must be 0 or 1"
        if "area" in entry and not (is_number(entry["area"]) and entry["area"] >= 0):
            yield f"{where}: area is {quoted(entry['area'])}, must be a number of pixels"
        if "bbox" in entry and not _is_box(entry["bbox"]):
            yield f"{where}: bbox is {quoted(entry['bbox'])}, must be [x, y, width, height]"
        size = sizes.get(image_id) if is_integer(image_id) else None
        if "segmentation" not in entry:
            yield f"{where}: segmentation is missing, mask AP needs one for every annotation"
        elif size and (problem := segmentation_problem(entry["segmentation"], *size)):
            yield f"{where}: {problem}"


def _id_problem(entry: Any, seen: Any) -> str | None:
    if not isinstance(entry, dict):
        return f" is a JSON {_kind(entry)}, must be an object"
    identity: Any = entry.get("id")
    if not is_id(identity):
        return f": id is {quoted(identity)}, must be a whole number from 0 on, at most {MAX_ID}"
    return f": id {identity} stands there twice, must be unique" if identity in seen else None


def _is_box(box: object) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box))


def _kind(value: object) -> str:
    names = {dict: "object", list: "list", str: "string", type(None): "null", bool: "boolean"}
    return names.get(type(value), "number")
