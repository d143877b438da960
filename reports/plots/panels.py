"""Panels: a few images of the dataset, each with the masks of the ground truth and of every model side by side."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bench.schema.row import Row
from reports.plots.ground_truth import Datasets, GroundTruth, measured_digest
from reports.plots.masks import Drawn, draw
from reports.plots.picture import Picture
from reports.plots.style import FAINT, figure
from reports.table.columns import dataset_files, dataset_name
from reports.table.comparison import Comparison

IMAGES = 3
MAX_COLUMNS = 5
MAX_MODELS = 19
SCORE_THRESHOLD = 0.5
TOP = 10
"""So many masks are drawn of an untrained model, whose scores say nothing."""


@dataclass(frozen=True)
class Panel:
    """A panel that is still to be drawn: one image of a dataset, with the rows that were measured on it.

    name: of its file
    rows: the numbers of the rows; the first :data:`MAX_MODELS` are drawn
    image_ids: the images of all panels of this dataset, whose classes share the colours
    """

    name: str
    rows: tuple[int, ...]
    image_id: int
    image_ids: tuple[int, ...]


def panels(comparison: Comparison, datasets: Datasets) -> list[Panel]:
    """Choose :data:`IMAGES` images of every dataset that is still where and what it was."""
    chosen = []
    names: dict[str, int] = {}
    for rows in _datasets(comparison).values():
        first = comparison.rows[rows[0]]
        truth = datasets.of(first)
        if truth is None:
            continue
        name = _file_name(dataset_name(first))
        # Two datasets may bear one name.
        names[name] = names.get(name, 0) + 1
        prefix = f"panel_{name}" if names[name] == 1 else f"panel_{name}-{names[name]}"
        image_ids = tuple(truth.choose(IMAGES, first.setting("dataset", "limit")))
        chosen += [Panel(f"{prefix}_{image_id}.png", tuple(rows), image_id, image_ids) for image_id in image_ids]
    return chosen


def draw_panel(comparison: Comparison, panel: Panel, folder: Path, datasets: Datasets) -> Picture:
    """Draw one of the :func:`panels` into the folder."""
    first = comparison.rows[panel.rows[0]]
    truth = datasets.of(first)
    assert truth is not None
    truth.colour_classes(panel.image_ids)
    cells = [_truth_cell(truth, panel.image_id)]
    for row in panel.rows[:MAX_MODELS]:
        predictions = datasets.predictions(predictions_path(comparison.rows[row]), panel.image_ids)
        cells.append((comparison.labels[row], *_model_cell(comparison.rows[row], truth, panel.image_id, predictions)))
    path = folder / panel.name
    _draw_panel(path, truth, panel.image_id, cells)
    return Picture(path, f"{truth.file_name(panel.image_id)} ({dataset_name(first)})", _caption(panel.rows))


def drawn_rows(comparison: Comparison) -> dict[int, list[int]]:
    """The rows to draw, each with all rows that have its masks: rows that differ in a setting of the clock alone do."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(comparison.rows):
        if row.result.status != "skipped" and "accuracy" in row.setting("passes", default=["accuracy"]):
            model = (str(row.setting("model", key)) for key in ("name", "family", "backbone", "library", "options"))
            setting = (str(row.setting(key)) for key in ("finetune", "overlap", "detections"))
            groups.setdefault((*dataset_files(row), dataset_name(row), *model, *setting, row.weights), []).append(
                number
            )
    return {rows[0]: rows for rows in groups.values()}


def predictions_path(row: Row) -> Path:
    """The path of a row's results file, whether it is there or not; it lies beside the row's ``result.json``."""
    accuracy = row.result.accuracy
    return row.path.parent / (Path(accuracy.predictions).name if accuracy else "predictions.json")


def _datasets(comparison: Comparison) -> dict[tuple[str, ...], list[int]]:
    """The rows to draw, grouped by their dataset: by its files, and by what was in them when it was measured."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number in drawn_rows(comparison):
        row = comparison.rows[number]
        groups.setdefault((*dataset_files(row), measured_digest(row)), []).append(number)
    return groups


TITLE_CHARACTER_INCHES = 0.0865
"""The mean width of a character in a title, at 9.5 points in bold."""

Cell = tuple[str, str, "Sequence[Drawn] | None"]
"""A title, a note, and the masks to draw; None in their place where there are none, and then the note says why."""


def _truth_cell(truth: GroundTruth, image_id: int) -> Cell:
    masks = truth.objects(image_id)
    return "Ground truth", f"{len(masks)} instance{'' if len(masks) == 1 else 's'}", masks


def _model_cell(
    row: Row, truth: GroundTruth, image_id: int, predictions: dict[int, list[Drawn]] | str
) -> tuple[str, Sequence[Drawn] | None]:
    if isinstance(predictions, str):
        status = row.result.status
        return (predictions if status == "ok" else f"{status.replace('_', ' ')}:\n{predictions}"), None
    detections = sorted(predictions.get(image_id, ()), key=lambda drawn: -drawn.score)
    if any(drawn.shape != truth.shape(image_id) for drawn in detections):
        return "masks of another size than the image", None
    if not detections:
        return "no detections", detections
    if row.random_weights:
        return f"random weights, top {min(TOP, len(detections))} by score", detections[:TOP]
    confident = [drawn for drawn in detections if drawn.score >= SCORE_THRESHOLD]
    return f"{len(confident)} with score of {SCORE_THRESHOLD} or more", confident


def _draw_panel(path: Path, truth: GroundTruth, image_id: int, cells: Sequence[Cell]) -> None:
    rows = math.ceil(len(cells) / MAX_COLUMNS)
    columns = math.ceil(len(cells) / rows)
    picture = truth.image(image_id)
    height, width = truth.shape(image_id)
    cell_width = 3.0
    cell_height = cell_width * min(max(height / width, 0.5), 1.4)
    drawn_width = min(cell_width, cell_height * width / height)
    titles = [_wrapped(title, drawn_width) for title, _, _ in cells]
    heads = 0.28 + 0.22 * max(title.count("\n") + 1 for title in titles)
    size = (columns * cell_width, rows * (cell_height + heads) + 0.4)
    with figure(path, *size, nrows=rows, ncols=columns, squeeze=False) as (fig, grid):
        seen: set[int] = set()
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, title, (_, note, masks) in zip(grid.flat, titles, cells, strict=False):
            axes.set_title(title, fontsize=9.5)
            if masks is None or isinstance(picture, str):
                reason = picture if isinstance(picture, str) else note
                axes.imshow(Image.new("RGB", (width, height), "#F1F2F3"))
                axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color=FAINT, wrap=True)
                continue
            axes.imshow(draw(picture, masks, truth.colours), interpolation="antialiased")
            axes.text(0, -0.02, note, transform=axes.transAxes, va="top", fontsize=8, color="#5F6468")
            seen |= {drawn.category_id for drawn in masks}
        _legend(fig, truth, seen)


def _legend(fig: object, truth: GroundTruth, seen: set[int]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    assert isinstance(fig, Figure)
    known = [category for category in truth.categories if category in seen][:24]
    patches = [Patch(color=truth.colours[category], label=truth.categories[category]) for category in known]
    if patches:
        fig.legend(handles=patches, loc="outside lower left", ncols=min(len(patches), 8), fontsize=8, handlelength=1.0)


def _wrapped(title: str, inches: float) -> str:
    """The title in lines that are no wider than the picture below; the library begins a line if that is enough."""
    characters = int(inches / TITLE_CHARACTER_INCHES)
    if len(title) <= characters:
        return title
    return "\n".join(line for part in title.split(" · ") for line in textwrap.wrap(part, characters))


def _caption(rows: Sequence[int]) -> str:
    text = (
        f"Colours are classes. Of a trained model the masks with a score of {SCORE_THRESHOLD} or more are drawn, of an "
        f"untrained one its {TOP} highest-scoring, whatever they are."
    )
    return text if len(rows) <= MAX_MODELS else f"{text} The first {MAX_MODELS} of {len(rows)} models are shown."


def _file_name(text: str) -> str:
    return "_".join("".join(char if char.isalnum() else " " for char in text).split()) or "dataset"
