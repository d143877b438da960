"""What the viewer of a page shows: photographs once each, and of the ground truth and every model the outlines of its
masks, with what the evaluation makes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.data.ids import Id
from bench.evaluation.diagnosis import SCORE
from bench.schema.row import Row
from reports.cut import best_of
from reports.masks.ground_truth import MOST_OBJECTS, Datasets, GroundTruth
from reports.masks.judged import judge
from reports.masks.outline import UNITS, outline
from reports.masks.panels import IMAGES as IMAGES_OF_PANELS
from reports.masks.panels import TOP, drawn_rows, shown_sets
from reports.masks.photograph import drawing_size
from reports.masks.predictions import MOST_MASKS, Predicted
from reports.masks.shown import Masks
from reports.table.columns import dataset_name
from reports.table.comparison import Comparison

IMAGES, IMAGES_IN_ALL = 6, 12
"""So many images of a dataset are shown at most, and so many of all datasets together where these are few."""

MOST_MODELS = 40

MOST_OUTLINES = 100
"""Of so many detections of an image, those of the highest scores, the outline is there."""

MOST_PIXELS = 960
"""The longer side of a photograph as shown, in pixels."""

QUALITY, MOST_PHOTOGRAPH_BYTES = (78, 60, 40), 140_000
"""Qualities of WebP, the next of which is tried where a photograph takes more bytes."""

MOST_CHARACTERS = 1_500_000
"""The longest text of a dataset's outlines; the images that would make it longer are left out."""


@dataclass(frozen=True)
class Viewer:
    """The images of one dataset that are still to be prepared; ``rows`` are those whose masks can be shown."""

    name: str
    rows: tuple[int, ...]
    image_ids: tuple[Id, ...]


def viewers(comparison: Comparison, datasets: Datasets) -> list[Viewer]:
    """Choose the images of every dataset that is still where and what it was."""
    sets = list(shown_sets(comparison, datasets))
    each = max(1, min(IMAGES, IMAGES_IN_ALL // max(1, len(sets))))
    return [
        Viewer(name, rows, _chosen(truth, each, comparison.rows[rows[0]].setting("dataset", "limit")))
        for name, rows, truth in sets
    ]


def _chosen(truth: GroundTruth, count: int, limit: int | None) -> tuple[Id, ...]:
    """The ids of so many images, those of the panels among them."""
    of_panels = truth.choose(IMAGES_OF_PANELS, limit)
    chosen = set(list(dict.fromkeys((*of_panels, *truth.choose(count, limit))))[:count])
    return tuple(image_id for image_id in truth.images if image_id in chosen)


def shown_rows(comparison: Comparison, viewer: Viewer) -> dict[int, list[int]]:
    """Give the rows that the viewer shows, each with all rows that have its masks."""
    alike = drawn_rows(comparison)
    return {number: alike[number] for number in best_of(comparison, viewer.rows, MOST_MODELS)}


def write_viewer(comparison: Comparison, viewer: Viewer, folder: Path, datasets: Datasets) -> Masks:
    """Write the files of one of the :func:`viewers` into the folder."""
    first = comparison.rows[viewer.rows[0]]
    truth = datasets.of(first)
    assert truth is not None
    truth.colour_classes(viewer.image_ids)
    classes = {category: place for place, category in enumerate(truth.categories)}
    rows: list[dict[str, Any]] = []
    for number, alike in shown_rows(comparison, viewer).items():
        row = comparison.rows[number]
        about = {"row": number, "rows": alike, "label": comparison.labels[number]}
        rows.append({**about, "untrained": row.random_weights, **_row(row, viewer, truth, datasets, classes)})
    images = [_image(truth, image_id, classes) for image_id in viewer.image_ids]
    kept = _within(images, rows)
    photographs = []
    for place, image_id in enumerate(viewer.image_ids[:kept], start=1):
        picture = truth.image(image_id, MOST_PIXELS)
        if isinstance(picture, str):
            images[place - 1]["reason"] = " ".join(picture.split())
            continue
        photographs.append(folder / f"masks_{viewer.name}_{place}.webp")
        _write_photograph(picture, photographs[-1])
        images[place - 1]["photograph"] = photographs[-1].name
    data = {
        "name": dataset_name(first),
        "least": SCORE,
        "top": TOP,
        "classes": [[truth.categories[category], _hex(truth.colours[category])] for category in classes],
        "images": images[:kept],
        "rows": [{**row, "images": row["images"][:kept]} for row in rows],
        "models": len(viewer.rows),
    }
    script = folder / f"masks_{viewer.name}.js"
    script.write_text(_script(_without_idle_classes(data)), encoding="utf-8")
    return Masks(script, tuple(photographs))


def _row(row: Row, viewer: Viewer, truth: GroundTruth, datasets: Datasets, classes: Mapping[Id, int]) -> dict[str, Any]:
    """What a row predicted on each of the images, or why there is nothing."""
    least, most = (-math.inf, TOP) if row.random_weights else (SCORE, MOST_MASKS)
    predictions = datasets.predictions(row, truth, viewer.image_ids, least, most)
    if isinstance(predictions, str):
        status = row.result.status
        return {"reason": predictions if status == "ok" else f"{status.replace('_', ' ')}: {predictions}", "images": []}
    return {"reason": "", "images": [_predicted(row, truth, i, predictions[i], classes) for i in viewer.image_ids]}


def _predicted(
    row: Row, truth: GroundTruth, image_id: Id, predicted: Predicted, classes: Mapping[Id, int]
) -> dict[str, Any]:
    """The detections on one image, each as ``[class, score, kind, object, IoU, outline, is coarse]``.

    None stands for detections that cannot be matched: then no object is told to be missed. Numbers are cut off, not
    rounded: an IoU of 0.4999 would be shown as one that is enough.
    """
    if predicted.other_size:
        return {"note": "masks of another size than the image", "detections": None}
    accuracy = row.result.accuracy
    rules = truth.rules(image_id, accuracy.max_detections if accuracy else MOST_MASKS)
    judged = judge(truth.objects(image_id), truth.crowds(image_id), predicted.kept, rules)
    size = drawing_size(*truth.shape(image_id), MOST_PIXELS)
    detections = []
    for place, one in enumerate(judged):
        path, coarse = outline(one.drawn.at, *size) if place < MOST_OUTLINES else ("", False)
        figures = [_cut(one.drawn.score), one.kind, one.object, _cut(one.iou)]
        detections.append([classes.get(one.drawn.category_id, -1), *figures, path, int(coarse)])
    return {"note": _note(predicted), "detections": detections}


def _note(predicted: Predicted) -> str:
    notes = []
    if left_out := predicted.left_out():
        notes.append(f"{left_out}, so an object that is shown as missed may have been found")
    if len(predicted.kept) > MOST_OUTLINES:
        notes.append(f"the {MOST_OUTLINES} highest scores of {len(predicted.kept)} are drawn")
    return "; ".join(notes)


def _image(truth: GroundTruth, image_id: Id, classes: Mapping[Id, int]) -> dict[str, Any]:
    """One image with its objects, each as ``[class, is crowd, outline, is coarse]``, the crowds last."""
    height, width = drawing_size(*truth.shape(image_id), MOST_PIXELS)
    objects, crowds = truth.objects(image_id), truth.crowds(image_id)
    too_many = max(len(objects), len(crowds)) == MOST_OBJECTS
    listed = [] if too_many else [(drawn, crowd) for crowd, part in enumerate((objects, crowds)) for drawn in part]
    outlines = [] if too_many else truth.outlines(image_id, MOST_PIXELS)
    return {
        "name": truth.file_name(image_id),
        "width": width * UNITS,
        "height": height * UNITS,
        "photograph": "",
        "reason": f"{MOST_OBJECTS} objects or more, too many to be shown" if too_many else "",
        "objects": [
            [classes[drawn.category_id], crowd, path, int(coarse)]
            for (drawn, crowd), (path, coarse) in zip(listed, outlines, strict=True)
        ],
    }


def _within(images: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> int:
    """How many of the images can be shown within :data:`MOST_CHARACTERS`, at least one where there are any."""
    characters = 0
    for place, image in enumerate(images):
        of_rows = [row["images"][place] for row in rows if row["images"]]
        characters += len(json.dumps([image, of_rows]))
        if characters > MOST_CHARACTERS and place:
            return place
    return len(images)


def _without_idle_classes(data: dict[str, Any]) -> dict[str, Any]:
    """The data with the classes that stand in it: LVIS has 1,203, of which few are in some images."""
    items = [item for image in data["images"] for item in image["objects"]]
    items += [item for row in data["rows"] for image in row["images"] for item in image["detections"] or ()]
    used = sorted({item[0] for item in items if item[0] >= 0})
    places = {old: new for new, old in enumerate(used)}
    for item in items:
        item[0] = places.get(item[0], -1)
    data["classes"] = [data["classes"][old] for old in used]
    return data


def _write_photograph(pixels: np.ndarray, path: Path) -> None:
    for quality in QUALITY:
        Image.fromarray(pixels).save(path, "WEBP", quality=quality, method=4)
        if path.stat().st_size <= MOST_PHOTOGRAPH_BYTES:
            return


def _script(data: Mapping[str, Any]) -> str:
    """A script that hands the data to the viewer, inside the page or beside it, where no page may read a JSON file."""
    # A text in it must not end the page's element, nor begin a comment of HTML.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f"(self.maskbenchMasks ??= []).push({text.encode('utf-8', 'backslashreplace').decode()});\n"


def _cut(value: float) -> float:
    """A number without what is behind its third decimal; of nothing else than a number, 0."""
    return math.floor(value * 1000 + 1e-9) / 1000 if math.isfinite(value) else 0.0


def _hex(colour: Sequence[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)
