"""All problems of the entries of a COCO-format annotation file, by kind, and what is left of it once it is repaired.

A consequence of a problem is no problem: the annotations of an image that is refused are not told.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.data import repairs
from bench.data.bounds import MAX_CATEGORIES, MAX_EDGE, MAX_NAME, MAX_PIXELS, is_number, quoted, text_problem
from bench.data.coco_json import NO_MASK
from bench.data.findings import Findings, Kind
from bench.data.ids import MAX_DIGITS, Id, as_id
from bench.data.reading import kind_of
from bench.schema.config import DatasetConfig

ANNOTATION_KEYS = ("id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd")
"""The keys of COCO's annotations that are kept; an evaluator may take another for something: hotcoco reads a score."""

NO_CATEGORIES = Kind("no_categories", "empty list of categories", "at least one category is needed")
NO_IMAGES = Kind("no_images", "empty list of images", "there is nothing to evaluate")
MANY_CATEGORIES = Kind(
    "many_categories", "categories in one file", f"may be {MAX_CATEGORIES} at most; leave out those without objects"
)
ENTRY_FORM = Kind("entry_form", "entries that are no JSON objects", "must be objects, as {...}")
ID_FORM = Kind(
    "id_form",
    "entries without an id of an image or category",
    f"must be a whole number of at most {MAX_DIGITS} digits, or a text",
)
ID_TWICE = Kind("id_twice", "entries with the id of another image or category", "must be unique")
NAME_FORM = Kind("name_form", "categories without a name", "must be a string")
NAME_BOUNDS = Kind("name_bounds", "categories with a name that cannot be shown", "give a shorter or plain name")
NAME_TWICE = Kind(
    "name_twice",
    "categories with the name of another, both with annotations",
    "must be unique; give them one id, or names of their own",
)
IMAGE_SIZE = Kind("image_size", "images without a size", "height and width must be whole numbers of pixels")
IMAGE_BOUNDS = Kind(
    "image_bounds", "images of an impossible size", f"the most is {MAX_EDGE} for an edge and {MAX_PIXELS} in all"
)
MAX_PIXELS_KEY = Kind(
    "max_pixels",
    "images of more pixels than dataset.max_pixels=N",
    "where a model has the memory for them, give dataset.max_pixels=N",
)
NO_SUCH_IMAGE = Kind(
    "no_such_image", "annotations of an image that the file does not have", "image_id must be the id of an image"
)
NO_SUCH_CATEGORY = Kind(
    "no_such_category",
    "annotations of a category that the file does not have",
    "category_id must be the id of a category",
)
ISCROWD = Kind("iscrowd", "annotations with an iscrowd of an unknown form", "must be 0 or 1")
AREA = Kind("area", "annotations with an impossible area", "must be a number of pixels, or null to take it of the mask")
BBOX = Kind(
    "bbox", "annotations with an impossible bbox", "must be [x, y, width, height], or null to take it of the mask"
)


def sound_entries(
    data: Mapping[str, Any], config: DatasetConfig, findings: Findings, places: Sequence[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Find all problems of a COCO object, repair what has one meaning, and give the lists of what is right.

    Args:
        data: has lists ``images``, ``annotations`` and ``categories`` (:func:`bench.data.reading.not_coco`); it is not
            changed
        config: says how many pixels an image may have, and what becomes of annotations without a mask
        findings: gets the problems and the repairs
        places: where each annotation stands, in the place of its number in the list

    Returns:
        ``images``, with ``id``, ``height`` and ``width`` in their one form; ``categories`` with ``id`` and ``name``;
        ``annotations`` with :data:`ANNOTATION_KEYS`, whose ``id`` is their place in the file, counted from 1. Entries
        with a problem are left out.
    """
    return _Sorter(config, findings, places).sort(data)


@dataclass
class _Known:
    """The entries of a list by id. ``refused``: ids of entries with a problem; None among them stands for any id."""

    sound: dict[Id, dict[str, Any]] = field(default_factory=dict)
    refused: set[Id | None] = field(default_factory=set)

    def lacks(self, identity: Id | None) -> bool:
        """Whether an id is wrong, and that is no consequence of another problem."""
        return identity not in self.sound and identity not in self.refused and None not in self.refused


class _Sorter:
    def __init__(self, config: DatasetConfig, findings: Findings, places: Sequence[str]) -> None:
        self._config, self._findings, self._places = config, findings, places
        self._images, self._categories = _Known(), _Known()
        self._too_large: list[tuple[int, str]] = []
        self._ids: set[int] = set()

    def sort(self, data: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        if (number := len(data["categories"])) > MAX_CATEGORIES:
            self._findings.problem(MANY_CATEGORIES, "", number)
            self._categories.refused.add(None)
        else:
            self._sort_categories(data)
        self._sort_images(data["images"])
        annotations = [self._annotation(index, entry) for index, entry in enumerate(data["annotations"])]
        return {
            "images": list(self._images.sound.values()),
            "categories": list(self._categories.sound.values()),
            "annotations": [annotation for annotation in annotations if annotation is not None],
        }

    def _identified(self, entry: Any, where: str, known: _Known) -> Id | None:
        """Give the id of an image or a category; None where it is none, or another's."""
        if not isinstance(entry, dict):
            self._findings.problem(ENTRY_FORM, f"{where} is a JSON {kind_of(entry)}")
            known.refused.add(None)
            return None
        identity = repairs.identity(entry.get("id"), f"{where}: id", self._findings)
        if identity is None or (isinstance(identity, str) and text_problem(identity, MAX_NAME)):
            identity = None
            self._findings.problem(ID_FORM, f"{where}: id is {quoted(entry.get('id'))}")
            known.refused.add(None)
        elif identity in known.sound or identity in known.refused:
            self._findings.problem(ID_TWICE, f"{where}: id {quoted(identity)} stands there twice")
            identity = None
        return identity

    def _sort_categories(self, data: Mapping[str, Any]) -> None:
        if not data["categories"]:
            self._findings.problem(NO_CATEGORIES, "categories is empty")
            self._categories.refused.add(None)
        named: dict[str, list[tuple[Id, str]]] = {}
        for index, entry in enumerate(data["categories"]):
            where = f"categories[{index}]"
            identity = self._identified(entry, where, self._categories)
            if identity is None:
                continue
            where, name = f"{where} (id {quoted(identity)})", entry.get("name")
            if not isinstance(name, str) or not name:
                self._findings.problem(NAME_FORM, f"{where}: name is {quoted(name)}")
                self._categories.refused.add(identity)
            elif problem := text_problem(name, MAX_NAME):
                self._findings.problem(NAME_BOUNDS, f"{where}: name {quoted(name)} {problem}")
                self._categories.refused.add(identity)
            else:
                self._categories.sound[identity] = {"id": identity, "name": name}
                named.setdefault(name, []).append((identity, where))
        if several := [same for same in named.values() if len(same) > 1]:
            used = {as_id(a.get("category_id")) for a in data["annotations"] if isinstance(a, dict)}
            for same in several:
                self._settle_names(same, used)

    def _settle_names(self, same: list[tuple[Id, str]], used: set[Id | None]) -> None:
        """Of categories of one name keep the one that has annotations."""
        kept, *others = sorted(same, key=lambda category: category[0] not in used)
        name = quoted(self._categories.sound[kept[0]]["name"])
        for identity, where in others:
            place = f"{where}: name {name} is also the name of id {quoted(kept[0])}"
            if identity in used:
                self._findings.problem(NAME_TWICE, place)
                self._categories.refused.add(identity)
            else:
                self._findings.repair(repairs.EMPTY_TWIN, place)
            del self._categories.sound[identity]

    def _sort_images(self, entries: list[Any]) -> None:
        if not entries:
            self._findings.problem(NO_IMAGES, "images is empty")
            self._images.refused.add(None)
        for index, entry in enumerate(entries):
            where = f"images[{index}]"
            identity = self._identified(entry, where, self._images)
            if identity is None:
                continue
            where = f"{where} (id {quoted(identity)})"
            if (size := self._size(entry, where)) is None:
                self._images.refused.add(identity)
            else:
                self._images.sound[identity] = {**entry, "id": identity, "height": size[0], "width": size[1]}
        if self._too_large:
            allowed, (largest, _) = self._config.max_pixels, max(self._too_large)
            kind = dataclasses.replace(
                MAX_PIXELS_KEY,
                what=MAX_PIXELS_KEY.what.replace("=N", f"={allowed}"),
                then=MAX_PIXELS_KEY.then.replace("=N", f"={largest}"),
            )
            for _, place in self._too_large:
                self._findings.problem(kind, place)

    def _size(self, entry: dict[str, Any], where: str) -> tuple[int, int] | None:
        height, width = (
            repairs.number(entry.get(key), f"{where}: {key}", self._findings) for key in ("height", "width")
        )
        if not (type(height) is int and type(width) is int and height > 0 and width > 0):
            self._findings.problem(IMAGE_SIZE, f"{where}: height and width are {quoted(height)} and {quoted(width)}")
            return None
        shown = f"{where}: {quoted(entry.get('file_name'))} is of {quoted(height)} x {quoted(width)} pixels"
        if max(height, width) > MAX_EDGE or height * width > MAX_PIXELS:
            self._findings.problem(IMAGE_BOUNDS, shown)
            return None
        if height * width > self._config.max_pixels:
            self._too_large.append((height * width, shown))
            return None
        return height, width

    def _annotation(self, index: int, entry: Any) -> dict[str, Any] | None:
        """Give an annotation in its one form; None where it has a problem, or is left out."""
        where = self._places[index] if self._places else f"annotations[{index}]"
        if not isinstance(entry, dict):
            self._findings.problem(ENTRY_FORM, f"{where} is a JSON {kind_of(entry)}")
            return None
        where = where if self._places else self._numbered(where, entry.get("id"))
        made = repairs.without_nulls(entry, ANNOTATION_KEYS, where, self._findings)
        made["id"] = index + 1
        image, right = self._belongs(made, where)
        right &= self._has_right_figures(made, where)
        if image is None:
            return None
        return made if self._has_mask(made, image, where) and right else None

    def _numbered(self, where: str, identity: Any) -> str:
        """Give the place of an annotation with its id, which is repaired where it is of no use."""
        if type(identity) is int and identity >= 0 and identity not in self._ids:
            self._ids.add(identity)
            return f"{where} (id {identity if identity < 10**20 else quoted(identity)})"
        self._findings.repair(repairs.ANNOTATION_IDS, f"{where}: id is {quoted(identity)}")
        return where

    def _belongs(self, annotation: dict[str, Any], where: str) -> tuple[dict[str, Any] | None, bool]:
        """Give the image of an annotation, None where that is refused, and whether image and category are right."""
        right = True
        for key, known, kind in (
            ("image_id", self._images, NO_SUCH_IMAGE),
            ("category_id", self._categories, NO_SUCH_CATEGORY),
        ):
            value = annotation.get(key)
            if type(value) is int and value in known.sound:
                continue
            found = repairs.identity(value, f"{where}: {key}", self._findings)
            annotation[key] = found
            if found not in known.sound:
                right = False
                if known.lacks(found):
                    self._findings.problem(kind, f"{where}: {key} {quoted(value)}")
        return self._images.sound.get(annotation["image_id"]), right

    def _has_right_figures(self, annotation: dict[str, Any], where: str) -> bool:
        """Check iscrowd, area and bbox; the first becomes 0 or 1."""
        given, right = annotation.get("iscrowd", 0), True
        if not isinstance(given, (int, float)) or given not in (0, 1):
            self._findings.problem(ISCROWD, f"{where}: iscrowd is {quoted(given)}")
            right = False
        else:
            if type(given) is not int:
                self._findings.repair(repairs.WHOLE_NUMBERS, f"{where}: iscrowd")
            annotation["iscrowd"] = int(given)
        area, box = annotation.get("area", 0), annotation.get("bbox", [0, 0, 0, 0])
        if not (is_number(area) and area >= 0):
            self._findings.problem(AREA, f"{where}: area is {quoted(area)}")
            right = False
        if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
            self._findings.problem(BBOX, f"{where}: bbox is {quoted(box)}")
            right = False
        return right

    def _has_mask(self, annotation: dict[str, Any], image: dict[str, Any], where: str) -> bool:
        """Repair and check the segmentation; say whether the annotation stays."""
        height, width = image["height"], image["width"]
        given = annotation.get("segmentation")
        segmentation, fault, kinds = repairs.mended(given, height, width)
        if repairs.is_without_mask(given, fault):
            return self._has_region(annotation, height, width, where)
        if fault is not None:
            self._findings.problem(fault.kind, f"{where}: {fault.detail}")
            return False
        for kind in kinds:
            self._findings.repair(kind, f"{where}: segmentation")
        annotation["segmentation"] = segmentation
        return True

    def _has_region(self, annotation: dict[str, Any], height: int, width: int, where: str) -> bool:
        """Do with an annotation without a mask what ``dataset.without_mask`` says."""
        if self._config.without_mask is None:
            self._findings.problem(NO_MASK, where)
            return False
        if self._config.without_mask == "drop":
            self._findings.repair(repairs.DROPPED, where)
            return False
        region = repairs.ignored_region(annotation.get("bbox"), height, width)
        if region is None:
            self._findings.repair(repairs.IGNORED_NO_BOX, where)
            return False
        self._findings.repair(repairs.IGNORED, where)
        annotation.update(segmentation=region, iscrowd=1)
        annotation.pop("area", None)  # of the mask that it lacks
        annotation.pop("bbox", None)
        return True
