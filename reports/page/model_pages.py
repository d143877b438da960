"""A page for each model: its figures, its classes, its errors, and the images on which it did worst."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.schema.parts.accuracy import AccuracyResult, Calibration
from bench.schema.row import Row
from reports.cut import best_of
from reports.masks.ground_truth import Datasets
from reports.masks.panels import drawn_rows
from reports.page.beside import photograph_of, photographs_of
from reports.page.busy import busy_details
from reports.page.details import checks
from reports.page.render import file_uri, render, webp_uri
from reports.page.worst_images import Photograph, worst_images
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
from reports.table.comparison import Comparison
from reports.text.conditions import row_setting
from reports.text.training import training_facts

FOLDER = "models"

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The Content-Security-Policy of a page: no network, no script, and no file."""

MOST_WITH_IMAGES = 100
"""Pages with images: to draw those of one takes a fifth of a second."""


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
    comparison: Comparison,
    page: ModelPage,
    training: Picture | None,
    datasets: Datasets | None,
    out: Path,
    split: bool = False,
) -> dict[int, str]:
    """Write a page into ``out`` and give its name for each of its rows; without ``datasets`` it shows no image.

    split: its pictures lie beside it, see :mod:`reports.page.beside`, and not inside it
    """
    (out / page.name).parent.mkdir(parents=True, exist_ok=True)
    text = _page(comparison, page, training, datasets, out / page.name if split else None)
    (out / page.name).write_text(text, encoding="utf-8")
    return dict.fromkeys(page.alike, page.name)


class _Photographs:
    """Writes photographs beside a page, each under the next number."""

    def __init__(self, page: Path) -> None:
        self._page, self._count = page, 0
        for old in photographs_of(page):
            old.unlink()

    def __call__(self, content: bytes) -> str:
        self._count += 1
        path = photograph_of(self._page, self._count)
        path.write_bytes(content)
        return quote(path.name)


def _page(
    comparison: Comparison,
    page: ModelPage,
    training: Picture | None,
    datasets: Datasets | None,
    split: Path | None,
) -> str:
    row, accuracy = comparison.rows[page.row], accuracy_of(comparison, page.row)
    assert accuracy is not None
    photograph = _Photographs(split) if split else webp_uri
    kinds, reason = _images(row, accuracy, datasets if page.images else None, page.images, photograph)
    photographs = {image["photograph"]: image for kind in kinds for image in kind["images"] if image["photograph"]}
    return render(
        "model.html",
        **page_context(comparison, page),
        policy=POLICY + (" 'self'" if split else ""),
        curve=training and (f"../plots/{quote(training.path.name)}" if split else file_uri(training.path)),
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
    row: Row, accuracy: AccuracyResult, datasets: Datasets | None, wanted: bool, photograph: Photograph
) -> tuple[list[dict[str, Any]], str]:
    """The worst images of each kind, and "", or none and the reason."""
    if not wanted:
        return [], f"Of so many rows, the pages of the best {MOST_WITH_IMAGES} show images."
    if datasets is None:
        return [], "The images could not be drawn."
    return worst_images(row, accuracy, datasets, photograph)


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


def _file_name(label: str, taken: set[str]) -> str:
    stem = "-".join("".join(char if char.isalnum() else " " for char in label.lower()).split())[:100] or "model"
    name, number = f"{FOLDER}/{stem}.html", 1
    while name in taken:
        number += 1
        name = f"{FOLDER}/{stem}-{number}.html"
    return name
