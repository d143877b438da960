"""Panels: a few images of the dataset, each with the masks of the ground truth and of every model side by side."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bench.data.ids import Id
from bench.schema.row import Row
from reports.masks.drawing import Drawn, draw
from reports.masks.ground_truth import Datasets, GroundTruth, measured_on
from reports.masks.photograph import drawing_size
from reports.masks.predictions import MOST_MASKS, Predicted
from reports.plots.picture import Picture
from reports.plots.style import FAINT, figure
from reports.table.columns import dataset_name
from reports.table.comparison import Comparison

IMAGES = 3
MAX_COLUMNS = 5
MAX_MODELS = 19
SCORE_THRESHOLD = 0.5
TOP = 10
"""So many masks are drawn of an untrained model, whose scores say nothing."""

MOST_PIXELS = 900
"""The longer side of an image as drawn, in pixels: twice what a cell of a panel has, so that edges are smooth."""


@dataclass(frozen=True)
class Panel:
    """A panel that is still to be drawn: one image of a dataset, with the rows that were measured on it.

    name: of its file
    rows: the numbers of the rows; the first :data:`MAX_MODELS` are drawn
    image_ids: the images of all panels of this dataset, whose classes share the colours
    """

    name: str
    rows: tuple[int, ...]
    image_id: Id
    image_ids: tuple[Id, ...]


def panels(comparison: Comparison, datasets: Datasets) -> list[Panel]:
    """Choose :data:`IMAGES` images of every dataset that is still where and what it was."""
    chosen = []
    for name, rows, truth in shown_sets(comparison, datasets):
        first = comparison.rows[rows[0]]
        image_ids = tuple(truth.choose(IMAGES, first.setting("dataset", "limit")))
        chosen += [Panel(f"panel_{name}_{place}.png", rows, i, image_ids) for place, i in _places(image_ids)]
    return chosen


def shown_sets(comparison: Comparison, datasets: Datasets) -> Iterator[tuple[str, tuple[int, ...], GroundTruth]]:
    """Give each dataset that is still where and what it was: a name for its files, its rows to draw, and its images."""
    names: dict[str, int] = {}
    for rows in _datasets(comparison).values():
        first = comparison.rows[rows[0]]
        truth = datasets.of(first)
        if truth is None:
            continue
        name = _file_name(dataset_name(first))
        # Two datasets may bear one name.
        names[name] = names.get(name, 0) + 1
        yield (name if names[name] == 1 else f"{name}-{names[name]}"), tuple(rows), truth


def draw_panel(comparison: Comparison, panel: Panel, folder: Path, datasets: Datasets) -> Picture:
    """Draw one of the :func:`panels` into the folder."""
    first = comparison.rows[panel.rows[0]]
    truth = datasets.of(first)
    assert truth is not None
    truth.colour_classes(panel.image_ids)
    rows = panel.rows[:MAX_MODELS]
    titles = ["Ground truth", *(comparison.labels[row] for row in rows)]
    cells = _cells(truth, panel, [comparison.rows[row] for row in rows], datasets)
    path = folder / panel.name
    _draw_panel(path, truth, panel.image_id, titles, cells)
    return Picture(path, f"{truth.file_name(panel.image_id)} ({dataset_name(first)})", _caption(panel.rows))


def drawn_rows(comparison: Comparison) -> dict[int, list[int]]:
    """The rows to draw, each with all rows that have its masks: rows that differ in a setting of the clock alone do."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(comparison.rows):
        if row.result.status != "skipped" and "accuracy" in row.setting("passes", default=["accuracy"]):
            model = (str(row.setting("model", key)) for key in ("name", "family", "backbone", "library", "options"))
            setting = (str(row.setting(key)) for key in ("finetune", "overlap", "detections"))
            groups.setdefault((*measured_on(row), dataset_name(row), *model, *setting, row.weights), []).append(number)
    return {rows[0]: rows for rows in groups.values()}


def _datasets(comparison: Comparison) -> dict[tuple[str, ...], list[int]]:
    """The rows to draw, grouped by their dataset: its files, what was in them when measured, and how they were read."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for number in drawn_rows(comparison):
        row = comparison.rows[number]
        groups.setdefault(measured_on(row), []).append(number)
    return groups


TITLE_CHARACTER_INCHES = 0.0865
"""The mean width of a character in a title, at 9.5 points in bold."""

Cell = tuple[str, "Sequence[Drawn] | None"]
"""A note, and the masks to draw; None in their place where there are none, and then the note says why."""


def _cells(truth: GroundTruth, panel: Panel, rows: Sequence[Row], datasets: Datasets) -> Iterator[Cell]:
    """Give the cells one after the other, so that the masks of one are in memory at a time."""
    yield _truth_cell(truth, panel.image_id)
    for row in rows:
        least, most = (-math.inf, TOP) if row.random_weights else (SCORE_THRESHOLD, MOST_MASKS)
        predictions = datasets.predictions(row, truth, panel.image_ids, least, most)
        if isinstance(predictions, str):
            status = row.result.status
            yield (predictions if status == "ok" else f"{status.replace('_', ' ')}:\n{predictions}"), None
        else:
            yield _model_cell(row, predictions[panel.image_id])


def _truth_cell(truth: GroundTruth, image_id: Id) -> Cell:
    masks, count = truth.objects(image_id), truth.instances.get(image_id, 0)
    drawn = f", the first {len(masks)} are shown" if len(masks) < count else ""
    return f"{count} instance{'' if count == 1 else 's'}{drawn}", masks


def _model_cell(row: Row, predicted: Predicted) -> Cell:
    if predicted.other_size:
        return "masks of another size than the image", None
    if not predicted.total:
        return predicted.left_out() or "no detections", []
    if row.random_weights:
        return f"random weights, top {len(predicted.kept)} by score", predicted.kept
    note = f"{predicted.reaching} with score of {SCORE_THRESHOLD} or more"
    return ", ".join(filter(None, [note, predicted.left_out()])), predicted.kept


def _draw_panel(path: Path, truth: GroundTruth, image_id: Id, titles: Sequence[str], cells: Iterator[Cell]) -> None:
    rows = math.ceil(len(titles) / MAX_COLUMNS)
    columns = math.ceil(len(titles) / rows)
    picture = truth.image(image_id, MOST_PIXELS)
    height, width = drawing_size(*truth.shape(image_id), MOST_PIXELS)
    cell_width = 3.0
    cell_height = cell_width * min(max(height / width, 0.5), 1.4)
    drawn_width = min(cell_width, cell_height * width / height)
    wrapped = [_wrapped(title, drawn_width) for title in titles]
    heads = 0.28 + 0.22 * max(title.count("\n") + 1 for title in wrapped)
    size = (columns * cell_width, rows * (cell_height + heads) + 0.4)
    with figure(path, *size, nrows=rows, ncols=columns, squeeze=False) as (fig, grid):
        seen: set[Id] = set()
        for axes in grid.flat:
            axes.set_axis_off()
            # Else the layout asks for ticks that nobody sees, which is a quarter of the time.
            axes.xaxis.set_visible(False)
            axes.yaxis.set_visible(False)
        for axes, title, (note, masks) in zip(grid.flat, wrapped, cells, strict=False):
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


def _legend(fig: object, truth: GroundTruth, seen: set[Id]) -> None:
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


def _places(image_ids: Sequence[Id]) -> Iterator[tuple[str, Id]]:
    """Give each image with what its files are named by: its id, with letters and digits alone."""
    taken: set[str] = set()
    for number, image_id in enumerate(image_ids, start=1):
        name = str(image_id) if isinstance(image_id, int) else _file_name(image_id)[:100]
        name = name if name not in taken else f"{name}-{number}"
        taken.add(name)
        yield name, image_id


def _file_name(text: str) -> str:
    return "_".join("".join(char if char.isalnum() else " " for char in text).split()) or "dataset"
