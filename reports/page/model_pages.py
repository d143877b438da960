"""A page for each model: its figures, its classes, its errors, and the images on which it did worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from bench.data.ids import Id, as_id, rising
from bench.evaluation.diagnosis import SCORE
from bench.schema.parts.accuracy import AccuracyResult, Calibration, ImageFaults
from bench.schema.row import Row
from reports.cut import best_of
from reports.masks.drawing import Drawn
from reports.masks.faults import sort_out
from reports.masks.ground_truth import MOST_OBJECTS, Datasets, GroundTruth
from reports.masks.outline import UNITS, outline
from reports.masks.panels import drawn_rows, predictions_path
from reports.masks.predictions import Predicted, read_predictions
from reports.page.busy import busy_details
from reports.page.details import checks
from reports.page.render import file_uri, render, webp_uri
from reports.plots.picture import Picture
from reports.table.accuracy import (
    COCO_HEADINGS,
    ERROR_MEANINGS,
    OTHER_HEADINGS,
    accuracy_of,
    error_points,
    figures_table,
    per_class_table,
)
from reports.table.columns import evaluated_without_images
from reports.table.comparison import Comparison
from reports.text.conditions import row_setting
from reports.text.training import training_facts

FOLDER = "models"
IMAGES_PER_KIND = 4

MOST_PIXELS = 460
"""The longer side of an image as shown, in pixels."""

MOST_WITH_IMAGES = 100
"""Pages with images: to draw those of one takes a fifth of a second."""

KINDS = {
    "missed": ("Most missed", "objects that no detection of their class covers"),
    "false": ("Most false", "detections that match no object of their class"),
    "masks": ("Worst masks", "objects that were detected, with the least mean IoU"),
}

Shown = dict[Id, dict[str, Any]]
"""The name and the pictures of each image that is shown, by the id of the image."""


@dataclass(frozen=True)
class ModelPage:
    """A page that is still to be written.

    name: its path, relative to the report
    row: the number of the row that it shows
    alike: the numbers of the rows that share it, since they differ in a setting of the clock alone and have its masks
    images: whether it shows images; of many pages those of the best rows do
    """

    name: str
    row: int
    alike: tuple[int, ...]
    images: bool = True


def model_pages(comparison: Comparison) -> list[ModelPage]:
    """Give a page for each model whose accuracy was measured."""
    pages: list[ModelPage] = []
    rows = {number: alike for number, alike in drawn_rows(comparison).items() if accuracy_of(comparison, number)}
    with_images = set(best_of(comparison, list(rows), MOST_WITH_IMAGES))
    for number, alike in rows.items():
        name = _file_name(comparison.labels[number], {page.name for page in pages})
        pages.append(ModelPage(name, number, tuple(alike), number in with_images))
    return pages


def write_model_page(
    comparison: Comparison, page: ModelPage, training: Picture | None, datasets: Datasets | None, out: Path
) -> dict[int, str]:
    """Write a page into ``out`` and give its name for each of its rows; without ``datasets`` it shows no image."""
    text = _page(comparison, page, training, datasets)
    (out / page.name).parent.mkdir(parents=True, exist_ok=True)
    (out / page.name).write_text(text, encoding="utf-8")
    return dict.fromkeys(page.alike, page.name)


def _page(comparison: Comparison, page: ModelPage, training: Picture | None, datasets: Datasets | None) -> str:
    row, accuracy = comparison.rows[page.row], accuracy_of(comparison, page.row)
    assert accuracy is not None
    kinds, reason = _images(row, accuracy, datasets if page.images else None, page.images)
    photographs = {image["photograph"]: image for kind in kinds for image in kind["images"] if image["photograph"]}
    return render(
        "model.html",
        **page_context(comparison, page),
        curve=file_uri(training.path) if training else None,
        kinds=kinds,
        photographs=photographs.values(),
        reason=reason,
    )


def page_context(comparison: Comparison, page: ModelPage) -> dict[str, Any]:
    """What a page says, without its pictures: values whose ``repr`` tells them apart."""
    number = page.row
    row, accuracy = comparison.rows[number], accuracy_of(comparison, number)
    assert accuracy is not None
    heads, figures = figures_table(comparison, [number], (*COCO_HEADINGS, *OTHER_HEADINGS))
    errors = error_points(accuracy)
    finetune = row.result.finetune
    return {
        "label": comparison.labels[number],
        "headline": _headline(comparison, number),
        "marks": comparison.marks_of(number),
        "busy": busy_details(row.result),
        "setting": row_setting(row),
        "checks": checks(row),
        "figures": [(head.title, head.meaning, text) for head, text in zip(heads, figures[0], strict=True) if text],
        "classes": [(name, texts[0]) for name, texts, _ in per_class_table(comparison, [number])],
        "errors": [(name, ERROR_MEANINGS[name], points) for name, points in errors.items()],
        "longest": max([*errors.values(), 0.1]),
        "calibration": accuracy.calibration and _bins(accuracy.calibration),
        "training": training_facts(finetune) if finetune else [],
        "result": row.shown,
    }


def _images(
    row: Row, accuracy: AccuracyResult, datasets: Datasets | None, wanted: bool
) -> tuple[list[dict[str, Any]], str]:
    """The worst images of each kind, and "", or none and the reason."""
    if not wanted:
        return [], f"Of so many rows, the pages of the best {MOST_WITH_IMAGES} show images."
    return _worst(row, accuracy, datasets) if datasets else ([], "The images could not be drawn.")


def _headline(comparison: Comparison, row: int) -> list[tuple[str, str, str]]:
    """The figures on top of the page: title, value, and what stands small beside it."""
    figures = [
        (comparison.title("mask_ap"), comparison.text(row, "mask_ap"), comparison.interval(row)),
        (comparison.title("boundary_ap"), comparison.text(row, "boundary_ap"), ""),
        ("FPS model", comparison.text(row, "fps_model"), "images/s"),
        ("Parameters", comparison.text(row, "parameters_m"), "M"),
    ]
    return [entry for entry in figures if entry[1]]


def _bins(calibration: Calibration) -> dict[str, Any]:
    edges = calibration.edges
    most = max([*calibration.detections, 1])
    bins = [
        {
            **{"left": left, "width": right - left, "share": share, "count": count},
            "weight": 0.25 + 0.75 * (count / most) ** 0.5,
        }
        for left, right, share, count in zip(
            edges[:-1], edges[1:], calibration.precision, calibration.detections, strict=True
        )
        if share is not None
    ]
    return {"error": 100 * calibration.expected_error, "bins": bins}


def _worst(row: Row, accuracy: AccuracyResult, datasets: Datasets) -> tuple[list[dict[str, Any]], str]:
    """The worst images of each kind, and "", or none and the reason."""
    if accuracy.worst_images is None:
        return [], "Faults by image were not measured."
    chosen, ids = _worst_images(accuracy), worst_ids(accuracy)
    if not ids:
        return [], "No image has a fault."
    if evaluated_without_images(row):
        return [], "The dataset was evaluated without its image files, so no image can be shown."
    truth = datasets.of(row)
    if truth is None:
        return [], "The dataset that was measured is not there or has changed, so no image can be shown."
    predictions = read_predictions(predictions_path(row), truth.shapes(ids), SCORE)
    if isinstance(predictions, str):
        return [], f"No image can be shown: {predictions}."
    shown = _draw(ids, truth, predictions, accuracy.max_detections)
    return [
        {
            "title": KINDS[kind][0],
            "meaning": KINDS[kind][1],
            "images": [{**shown[_id(faults)], "caption": _caption(faults)} for faults in listed],
        }
        for kind, listed in chosen.items()
        if listed
    ], ""


def _worst_images(accuracy: AccuracyResult) -> dict[str, list[ImageFaults]]:
    return {kind: _chosen(kind, (accuracy.worst_images or {}).get(kind, ())) for kind in KINDS}


def worst_ids(accuracy: AccuracyResult) -> list[Id]:
    """The ids of the images that a page shows, rising."""
    return sorted({_id(faults) for listed in _worst_images(accuracy).values() for faults in listed}, key=rising)


def _id(faults: ImageFaults) -> Id:
    """The id of the image in its one form: a result may hold a number that is too large for a file as a text."""
    return as_id(faults.image_id) or 0


def _chosen(kind: str, listed: Sequence[ImageFaults]) -> list[ImageFaults]:
    """The worst of the listed images that have a fault of the kind."""
    faulty = [f for f in listed if (f.mean_iou is not None if kind == "masks" else getattr(f, kind) > 0)]
    return faulty[:IMAGES_PER_KIND]


def _draw(ids: Sequence[Id], truth: GroundTruth, predictions: Mapping[Id, Predicted], most: int) -> Shown:
    shown: Shown = {}
    for image_id in ids:
        if image_id not in truth.images:
            absent = {"reason": "no longer in the annotations", "photograph": ""}
            shown[image_id] = {"name": f"image {image_id}", **absent}
            continue
        picture, reason = _picture(truth, image_id, predictions[image_id], most)
        shown[image_id] = {"name": truth.file_name(image_id), "reason": reason, **picture}
    return shown


def _picture(truth: GroundTruth, image_id: Id, predicted: Predicted, most: int) -> tuple[dict[str, Any], str]:
    """The objects and the detections of an image as outlines; and what is not shown of it, "" where all is.

    most: how many detections count, see :meth:`reports.masks.ground_truth.GroundTruth.rules`
    """
    none = {"photograph": ""}
    if predicted.other_size:
        return none, "masks of another size than the image"
    objects, crowds = truth.objects(image_id), truth.crowds(image_id)
    if max(len(objects), len(crowds)) == MOST_OBJECTS:
        return none, f"{MOST_OBJECTS} objects or more, too many to be shown"
    pixels = truth.image(image_id, MOST_PIXELS)
    if isinstance(pixels, str):
        return none, " ".join(pixels.split())
    height, width = pixels.shape[:2]
    faults = sort_out(objects, crowds, predicted.kept, truth.rules(image_id, most))
    sides = [
        [*_outlines("found", right, truth, height, width), *_outlines(kind, wrong, truth, height, width)]
        for kind, right, wrong in (("missed", faults.matched, faults.missed), ("false", faults.true, faults.false))
    ]
    # The photograph is nearly grey, so that a yellow thing is not taken for a missed one.
    grey = np.asarray(ImageEnhance.Color(Image.fromarray(pixels)).enhance(0.25))
    size = {"width": width * UNITS, "height": height * UNITS}
    return {"photograph": webp_uri(grey), "key": f"photograph-{image_id}", **size, "sides": sides}, predicted.left_out()


def _outlines(
    kind: str, masks: Sequence[Drawn], truth: GroundTruth, height: int, width: int
) -> list[tuple[str, str, str]]:
    """The kind, the path and the words of each mask."""
    names = [truth.categories.get(drawn.category_id, "unknown class") for drawn in masks]
    paths = [outline(drawn.at, height, width)[0] for drawn in masks]
    return [(kind, path, f"{name}, {kind}") for path, name in zip(paths, names, strict=True)]


def _caption(faults: ImageFaults) -> str:
    iou = "" if faults.mean_iou is None else f", mean IoU {faults.mean_iou:.2f}"
    return f"{faults.missed} missed, {faults.false} false{iou}"


def _file_name(label: str, taken: set[str]) -> str:
    stem = "-".join("".join(char if char.isalnum() else " " for char in label.lower()).split())[:100] or "model"
    name, number = f"{FOLDER}/{stem}.html", 1
    while name in taken:
        number += 1
        name = f"{FOLDER}/{stem}-{number}.html"
    return name
