"""The images on which a model did worst: their objects and its detections as outlines over the photograph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from bench.data.ids import Id, as_id, rising
from bench.evaluation.diagnosis import SCORE
from bench.schema.parts.accuracy import AccuracyResult, ImageFaults
from bench.schema.row import Row
from reports.masks.drawing import Drawn
from reports.masks.faults import sort_out
from reports.masks.ground_truth import MOST_OBJECTS, Datasets, GroundTruth
from reports.masks.outline import UNITS, outline
from reports.masks.panels import predictions_path
from reports.masks.predictions import Predicted, read_predictions
from reports.page.render import webp
from reports.table.columns import evaluated_without_images

IMAGES_PER_KIND = 4

MOST_PIXELS = 460
"""The longer side of an image as shown, in pixels."""

KINDS = {
    "missed": ("Most missed", "objects that no detection of their class covers"),
    "false": ("Most false", "detections that match no object of their class"),
    "masks": ("Worst masks", "objects that were detected, with the least mean IoU"),
}

Photograph = Callable[[bytes], str]
"""Puts a photograph, a WebP, into a page or beside it, and gives its address."""

Shown = dict[Id, dict[str, Any]]
"""The name and the pictures of each image that is shown, by the id of the image."""


def worst_images(
    row: Row, accuracy: AccuracyResult, datasets: Datasets, photograph: Photograph
) -> tuple[list[dict[str, Any]], str]:
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
    shown = _draw(ids, truth, predictions, accuracy.max_detections, photograph)
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


def _draw(
    ids: Sequence[Id],
    truth: GroundTruth,
    predictions: Mapping[Id, Predicted],
    most: int,
    photograph: Photograph,
) -> Shown:
    shown: Shown = {}
    for image_id in ids:
        if image_id not in truth.images:
            absent = {"reason": "no longer in the annotations", "photograph": ""}
            shown[image_id] = {"name": f"image {image_id}", **absent}
            continue
        picture, reason = _picture(truth, image_id, predictions[image_id], most)
        if picture["photograph"]:
            picture["photograph"] = photograph(picture["photograph"])
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
    paths = [path for path, _ in truth.outlines(image_id, MOST_PIXELS)]
    of_objects = [
        (kind, paths[index], _words(truth, objects[index], kind))
        for kind, part in (("found", faults.matched), ("missed", faults.missed))
        for index in part
    ]
    of_detections = [
        (kind, outline(drawn.at, height, width)[0], _words(truth, drawn, kind))
        for kind, part in (("found", faults.true), ("false", faults.false))
        for drawn in part
    ]
    photograph = truth.once("photograph of a page", image_id, lambda: _grey(pixels))
    size = {"width": width * UNITS, "height": height * UNITS, "sides": [of_objects, of_detections]}
    return {"photograph": photograph, "key": f"photograph-{image_id}", **size}, predicted.left_out()


def _grey(pixels: np.ndarray) -> bytes:
    """A photograph, as a WebP, that is nearly grey, so that a yellow thing is not taken for a missed one."""
    return webp(np.asarray(ImageEnhance.Color(Image.fromarray(pixels)).enhance(0.25)))


def _words(truth: GroundTruth, drawn: Drawn, kind: str) -> str:
    return f"{truth.categories.get(drawn.category_id, 'unknown class')}, {kind}"


def _caption(faults: ImageFaults) -> str:
    iou = "" if faults.mean_iou is None else f", mean IoU {faults.mean_iou:.2f}"
    return f"{faults.missed} missed, {faults.false} false{iou}"
