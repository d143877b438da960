"""All problems of a COCO-format annotation file, one line each, in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench.data.coco_json import is_integer, is_number, segmentation_problem


def annotation_problems(data: Any) -> Iterator[str]:
    """Yield the problems of a parsed annotation file: the place (list, index, id, key), and what would be right."""
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
    if not whole:
        return
    sizes: dict[int, tuple[int, int] | None] = {}
    categories: dict[int, str] = {}
    yield from _category_problems(data["categories"], categories)
    yield from _image_entry_problems(data["images"], sizes)
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
        categories[entry["id"]] = str(name)
        if not isinstance(name, str) or not name:
            yield f"{where} (id {entry['id']}): name is {name!r}, must be a string"
        elif name in names:
            yield f"{where} (id {entry['id']}): name {name!r} is also the name of id {names[name]}, must be unique"
        else:
            names[name] = entry["id"]


def _image_entry_problems(entries: list[Any], sizes: dict[int, tuple[int, int] | None]) -> Iterator[str]:
    """Yield the problems of the images; fill ``sizes`` with id -> (height, width), None where that is unknown."""
    if not entries:
        yield "images is empty, there is nothing to evaluate"
    for index, entry in enumerate(entries):
        where = f"images[{index}]"
        if problem := _id_problem(entry, sizes):
            yield f"{where}{problem}"
            continue
        where = f"{where} (id {entry['id']})"
        height, width = entry.get("height"), entry.get("width")
        right = all(is_integer(side) and side > 0 for side in (height, width))
        sizes[entry["id"]] = (height, width) if right else None
        if not right:
            yield f"{where}: height and width are {height!r} and {width!r}, must be whole numbers of pixels"
        if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            yield f"{where}: file_name is {entry.get('file_name')!r}, must be a path relative to the image folder"


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
            yield f"{where}: image_id {image_id!r} is no image of this file"
        if not is_integer(category_id) or category_id not in categories:
            yield f"{where}: category_id {category_id!r} is no category of this file"
        if entry.get("iscrowd", 0) not in (0, 1):
            yield f"{where}: iscrowd is {entry['iscrowd']!r}, must be 0 or 1"
        if "area" in entry and not (is_number(entry["area"]) and entry["area"] >= 0):
            yield f"{where}: area is {entry['area']!r}, must be a number of pixels"
        if "bbox" in entry and not _is_box(entry["bbox"]):
            yield f"{where}: bbox is {str(entry['bbox'])[:60]}, must be [x, y, width, height]"
        size = sizes.get(image_id) if is_integer(image_id) else None
        if "segmentation" not in entry:
            yield f"{where}: segmentation is missing, mask AP needs one for every annotation"
        elif size and (problem := segmentation_problem(entry["segmentation"], *size)):
            yield f"{where}: {problem}"


def _id_problem(entry: Any, seen: Any) -> str | None:
    if not isinstance(entry, dict):
        return f" is a JSON {_kind(entry)}, must be an object"
    identity: Any = entry.get("id")
    if not is_integer(identity) or identity < 0:
        return f": id is {identity!r}, must be a whole number from 0 on"
    return f": id {identity} stands there twice, must be unique" if identity in seen else None


def _is_box(box: object) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box))


def _kind(value: object) -> str:
    names = {dict: "object", list: "list", str: "string", type(None): "null", bool: "boolean"}
    return names.get(type(value), "number")
