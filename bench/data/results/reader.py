"""The reader of a COCO results file: it checks the file against the data set, and converts it to one form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.data.bounds import is_number, quoted
from bench.data.dataset import CocoDataset
from bench.data.findings import Finding, Findings, Kind
from bench.data.ids import Id, as_id
from bench.data.reading import parse_json, read_file
from bench.data.results import kinds
from bench.data.results.category_ids import match_classes, refuse_forms, ways_that_fit
from bench.data.results.image_ids import BY_ID, Matched, by_names, few_unknown, match_images, other_stems
from bench.data.results.masks import is_empty, is_plain_rle, refuse_boxes, rle_of, rle_size
from bench.data.results.opened import Opened, opened
from bench.data.results.plain import PlainResults, columns_of
from bench.data.results.runs import cover_images
from bench.errors import UserError
from bench.files.bounds import LARGEST_INTEGER
from bench.files.paths import expanded
from bench.schema.config import DatasetConfig

if TYPE_CHECKING:  # it imports torch
    from bench.predictor import ResultsFile

KEY = "model.options.results"

CHECKED_AT_ONCE = 256
"""How many RLEs are checked at once, which takes about 3 MB; more would take no less time."""

_NO_IMAGE = ""
"""No id of an image."""


@dataclass(frozen=True)
class ReadResults:
    """What a results file holds.

    by_image: the results of every image of the data set, by falling score; empty where there are none
    notes: what was repaired or left out, and what may mislead, a line for each kind
    places: the values of ``model.options.category_ids`` other than the given one that all category ids fit
        (:func:`ways_that_fit`)
    of_other_classes: how many results were left out, since the data set lacks their category
    """

    by_image: Mapping[Id, list[dict[str, Any]]]
    notes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    of_other_classes: int = 0


class _Entry(NamedTuple):
    """A result whose ids are known to be ids: its number in the file, what they are there, and the result."""

    number: int
    image: Id
    category: Id
    result: Mapping[str, Any]

    @property
    def place(self) -> str:
        return f"entry {self.number}"


def read_results(file: ResultsFile, dataset: CocoDataset, config: DatasetConfig | None = None) -> ReadResults:
    """Read the results of every image of the data set.

    All results of an image are kept, since the limit of 100 of an image and category is the evaluator's matter. Results
    of images that ``dataset.limit`` leaves out are left out. Segmentations are converted to compressed RLE, ``counts``
    a str. Other keys are dropped, above all ``bbox``: with it, the evaluators take the area of a result from its box.

    What has one meaning is repaired, and counted in the notes; ``dataset.strict`` refuses it. Results of categories
    that the data set lacks are left out, since a model may know more classes than a set has. An image that the set
    lacks is another matter: it is a sign that the file was made on another set, or before the images of this one were
    numbered anew, and then every other id would mean another image too. So at most a few of them are left out
    (:func:`few_unknown`).

    Args:
        config: says how large the file may be (``max_json_gb``), and whether repairs are refused (``strict``)

    Raises:
        UserError: the file has a problem; the message tells the first kinds with their number and their places.
    """
    config, findings = config or DatasetConfig(), Findings()
    path = expanded(file.path, KEY)
    raw = read_file(path, KEY, max_gb=config.max_json_gb)
    if (plain := _read_plain(raw, file, dataset)) is not None:
        return plain
    content = opened(parse_json(raw, path, KEY, config.max_json_gb), path, findings)
    del raw
    refuse_forms(file)
    entries = _checked(content, file.category_offset, findings)
    given = Counter(entry.category for entry in entries)
    classes = match_classes(given, content.categories, dataset, file, findings)
    images, cautions = _images(entries, content, dataset, file, findings)
    by_image = {} if images is None or classes is None else _by_image(entries, images, classes, dataset, findings)
    _refuse_problems(findings, cautions, config.strict, path, dataset)
    if not content.results:
        cautions.append("the file holds no result, so mask AP is 0")
    lines = [finding.line() for finding in findings.repairs()]
    by_id = file.category_ids == "id" and not given.keys() <= content.categories.keys()
    places = ways_that_fit(given, [category.id for category in dataset.categories]) if by_id else ()
    left_out = sum(finding.count for finding in findings.repairs() if finding.kind is kinds.DROPPED_CLASS)
    return ReadResults(by_image, tuple(f"results: {line}" for line in (*lines, *cautions)), places, left_out)


def _refuse_problems(
    findings: Findings, cautions: Sequence[str], strict: bool, path: Path, dataset: CocoDataset
) -> None:
    """Raise a UserError where the file has a problem, or a repair that ``strict`` refuses."""
    if problems := findings.problems(strict):
        refused = "" if findings.problems() else "; dataset.strict=true refuses repairs"
        text = "; ".join([_in_one_line(problems) + refused, *cautions])
        raise UserError(f"{path}: {text} (checked against {dataset.annotations_path})")


def _read_plain(raw: bytes, file: ResultsFile, dataset: CocoDataset) -> ReadResults | None:
    """Give the results of a file in the usual form in which nothing is to be repaired, left out or refused; None where
    anything is.

    Every image is named by its id and every category is known, and each RLE is right and of the size of its image.
    """
    columns = columns_of(raw)
    if columns is None:
        return None
    refuse_forms(file)
    findings, names = Findings(), _names(dataset)
    values, counts = np.unique(columns.category, return_counts=True)
    given: dict[Id, int] = dict(zip(values.tolist(), counts.tolist(), strict=True))
    classes = match_classes(given, {}, dataset, file, findings)
    if classes is None or classes.keys() != given.keys() or file.other_images not in (None, "drop"):
        return None
    ids, image_of = np.unique(columns.image, return_inverse=True)
    matched = match_images(ids.tolist(), names, file.image_ids, {})
    if not matched.fits or matched.what != BY_ID:
        return None
    sizes = {image.id: (image.height, image.width) for image in dataset.images}
    of_each = np.array([sizes.get(one, (0, 0)) for one in ids.tolist()], np.int64)[image_of]
    evaluated = np.flatnonzero(of_each[:, 0])
    if not columns.all_sound(evaluated, of_each[evaluated]):
        return None
    cautions = tuple(f"results: {line}" for line in _two_readings(matched, names))
    places = ways_that_fit(given, [one.id for one in dataset.categories]) if file.category_ids == "id" else ()
    return ReadResults(PlainResults(columns, classes, [image.id for image in dataset.images]), cautions, places)


def _names(dataset: CocoDataset) -> Mapping[Id, str]:
    """Give the names of the files of all images, those included that ``dataset.limit`` leaves out."""
    return dataset.file_names or {image.id: image.path.name for image in dataset.images}


def _in_one_line(problems: Sequence[Finding]) -> str:
    """Tell the first kind of problem, and how many there are of the others."""
    others = [problem.counted() for problem in problems[1:]]
    return problems[0].line() + (f"; also {', '.join(others)}" if others else "")


def _checked(content: Opened, offset: int, findings: Findings) -> list[_Entry]:
    """Give the results whose keys and ids are right."""
    entries = []
    for index, result in enumerate(content.results):
        if _is_plain(result):
            entries.append(_Entry(index, result["image_id"], result["category_id"], result))
            continue
        place = f"entry {index}"
        if not isinstance(result, Mapping):
            findings.problem(kinds.NO_OBJECT, f"{place}: {quoted(result)}")
            continue
        absent = [key for key in kinds.KEYS if result.get(key) is None]
        for key in absent:
            findings.problem(kinds.ABSENT[key], place)
        if absent:
            continue
        image, category = as_id(result["image_id"]), as_id(result["category_id"])
        for key, identity in (("image_id", image), ("category_id", category)):
            if identity is None:
                findings.problem(kinds.NO_ID, f"{place}: {key} {quoted(result[key])}")
        if image is None or category is None:
            continue
        if offset and isinstance(category, str):
            raise UserError(
                f"model.options.category_offset={offset}: {place} has the category_id {quoted(category)}, which is a "
                f"text; leave the option out"
            )
        if type(result["image_id"]) is not type(image) or type(result["category_id"]) is not type(category):
            findings.repair(kinds.IDS_READ, place)
        entries.append(_Entry(index, image, category, result))
    return entries


def _is_plain(result: Any) -> bool:
    """Tell whether the keys of a result are all there and its ids are whole numbers, as nearly every file has them."""
    return (
        type(result) is dict
        and type(result.get("image_id")) is int
        and type(result.get("category_id")) is int
        and abs(result["image_id"]) <= LARGEST_INTEGER
        and abs(result["category_id"]) <= LARGEST_INTEGER
        and result.get("segmentation") is not None
        and result.get("score") is not None
    )


def _images(
    entries: list[_Entry], content: Opened, dataset: CocoDataset, file: ResultsFile, findings: Findings
) -> tuple[Mapping[Id, Id] | None, list[str]]:
    """Give the image of each id in the file, without the ids that are left out, and what may mislead in it.

    It gives None in place of the images where some are wrong: whatever is wrong of their results follows from it.
    """
    if file.other_images not in (None, "drop"):
        raise UserError(f"model.options.other_images={quoted(file.other_images)}: must be drop, or null")
    names = _names(dataset)
    given = dict.fromkeys(entry.image for entry in entries)
    told = content.names_of(given)
    matched = match_images(given, names, file.image_ids, told)
    by_size = None
    if file.image_ids == "auto" and matched.what == BY_ID and not told:
        by_size = _by_size(entries, matched, dataset, names)
    matched, cautions = (matched, _two_readings(matched, names)) if by_size is None else (by_size, [])
    found = [(kinds.TWO_IMAGES, image, quoted(others[:2])) for image, others in matched.ambiguous.items()]
    if file.image_ids == "auto" and matched.what == BY_ID:
        found += [(kinds.OWN_IMAGES, image, quoted(told[image])) for image in other_stems(told, matched.images, names)]
    if not (file.other_images == "drop" or few_unknown(matched, names)):
        found += [(kinds.OTHER_IMAGE, image, "") for image in matched.unknown]
    first = {entry.image: entry.place for entry in reversed(entries)}
    for kind, image, what in found:
        findings.problem(kind, f"{first[image]}: image_id {quoted(image)}{what and f' is {what}'}")
    if found:
        return None, cautions
    left_out = kinds.ASKED_IMAGE if file.other_images == "drop" else kinds.DROPPED_IMAGE
    _tell_images(entries, matched, left_out, kinds.BY_NAME if by_size is None else kinds.BY_SIZE, findings)
    return matched.images, cautions


def _tell_images(entries: list[_Entry], matched: Matched, left_out: Kind, by_name: Kind, findings: Findings) -> None:
    """Count the results whose image was left out, or has another id than in the file."""
    for entry in entries:
        meant = matched.images.get(entry.image)
        if meant is None:
            findings.repair(left_out, f"{entry.place}: image_id {quoted(entry.image)}")
        elif meant != entry.image:
            findings.repair(by_name, f"{entry.place}: {quoted(entry.image)} is {matched.what} {quoted(meant)}")


def _by_size(entries: list[_Entry], matched: Matched, dataset: CocoDataset, names: Mapping[Id, str]) -> Matched | None:
    """Give the reading of ids as names whose images have the sizes of all RLEs, where those by id have not."""
    sizes = {image.id: (image.height, image.width) for image in dataset.images}
    said = {(entry.image, size) for entry in entries if (size := rle_size(entry.result["segmentation"]))}

    def agrees(images: Mapping[Id, Id]) -> bool:
        return all(sizes.get(images.get(one, one), size) == size for one, size in said)

    if agrees(matched.images):
        return None
    return next((other for other in _other_readings(matched, names) if other.fits and agrees(other.images)), None)


def _other_readings(matched: Matched, names: Mapping[Id, str]) -> list[Matched]:
    """Give the readings of ids as names that fit as well as the ids, and mean other images."""
    return [
        other
        for other in by_names([*matched.images, *matched.unknown], names)
        if not other.ambiguous and len(other.unknown) <= len(matched.unknown)
        if any(other.images.get(one, one) != one for one in matched.images)
    ]


def _two_readings(matched: Matched, names: Mapping[Id, str]) -> list[str]:
    """Tell where the names of the files would fit as well as the ids, and mean other images."""
    others = _other_readings(matched, names) if matched.what == BY_ID else []
    if not others:
        return []
    meant = others[0].images
    one = next(one for one in matched.images if meant.get(one, one) != one)
    return [
        f"image_id {one} is the id of {quoted(names[one])} and also the name of {quoted(names[meant[one]])}; it was "
        f"read as the id, and model.options.image_ids=name reads it as the name"
    ]


def _by_image(
    entries: list[_Entry],
    images: Mapping[Id, Id],
    classes: Mapping[Id, Id],
    dataset: CocoDataset,
    findings: Findings,
) -> dict[Id, list[dict[str, Any]]]:
    """Give the results of each image of the data set in their one form, by falling score."""
    sizes = {image.id: (image.height, image.width) for image in dataset.images}
    by_image: dict[Id, list[dict[str, Any]]] = {image.id: [] for image in dataset.images}
    if entries and not classes:
        for entry in entries:
            findings.problem(kinds.OTHER_CLASSES, f"{entry.place}: category_id {quoted(entry.category)}")
        return by_image
    empty = [(entry.place, entry.result) for entry in entries if is_empty(entry.result["segmentation"])]
    if refuse_boxes(empty, len(entries), findings):
        return by_image
    sound = _sound_rles(entries, images, sizes)
    for entry, is_sound in zip(entries, sound, strict=True):
        image, category, score = images.get(entry.image), classes.get(entry.category), entry.result["score"]
        if image is None or image not in sizes:
            continue
        if category is None:
            findings.repair(kinds.DROPPED_CLASS, f"{entry.place}: category_id {quoted(entry.category)}")
            continue
        if not is_number(score):
            findings.problem(kinds.NO_SCORE, f"{entry.place}: {quoted(score)}")
            continue
        segmentation, box = entry.result["segmentation"], entry.result.get("bbox")
        rle = segmentation if is_sound else rle_of(segmentation, *sizes[image], entry.place, findings, box)
        if rle is not None:
            by_image[image].append(_in_one_form(entry.result, image, category, rle, score))
    for results in by_image.values():
        results.sort(key=lambda result: -result["score"])
    return by_image


def _in_one_form(
    given: Mapping[str, Any], image: Id, category: Id, rle: dict[str, Any], score: float
) -> dict[str, Any]:
    """Give a result with COCO's four keys alone; the same object where it is in this form, which saves its copy."""
    wanted = {"image_id": image, "category_id": category, "segmentation": rle, "score": float(score)}
    if type(given) is not dict or len(given) != len(wanted) or given["segmentation"] is not rle:
        return wanted
    same = all(type(given[key]) is type(wanted[key]) and given[key] == wanted[key] for key in wanted)
    return given if same else wanted


def _sound_rles(entries: list[_Entry], images: Mapping[Id, Id], sizes: Mapping[Id, tuple[int, int]]) -> Iterator[bool]:
    """Tell of each result whether its segmentation is right, and a compressed RLE in its one form already.

    Many are checked at once, which takes a tenth of the time. Where one of them is wrong, none of them is called right.
    """
    for first in range(0, len(entries), CHECKED_AT_ONCE):
        some = entries[first : first + CHECKED_AT_ONCE]
        of = [sizes.get(images.get(entry.image, _NO_IMAGE)) for entry in some]
        plain = [
            size is not None and is_plain_rle(entry.result["segmentation"], *size)
            for entry, size in zip(some, of, strict=True)
        ]
        texts = [entry.result["segmentation"]["counts"] for entry, one in zip(some, plain, strict=True) if one]
        pixels = [size[0] * size[1] for size, one in zip(of, plain, strict=True) if one and size]
        right = cover_images(texts, np.array(pixels, np.int64))
        yield from (one and right for one in plain)
