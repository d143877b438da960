"""The sections of the HTML page below its table: differences, accuracy in detail, trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.cut import best_of, few_words
from reports.page.render import Embedding
from reports.plots.picture import Picture
from reports.table.accuracy import (
    COCO_HEADINGS,
    ERROR_MEANINGS,
    OTHER_HEADINGS,
    accuracy_of,
    figures_table,
    per_class_table,
    rows_with_figures,
)
from reports.table.comparison import Comparison
from reports.table.differences import Group
from reports.table.matrix import difference_text, group_conditions, matrix_rows, p_text
from reports.text.training import training_facts


def matrix(comparison: Comparison, group: Group, metric: str) -> dict[str, Any]:
    """The matrix of differences, row against column; each pair stands in it twice, once with either sign."""
    lines, rows = [], matrix_rows(group)
    for first in rows:
        cells = []
        for second in rows:
            difference = group.difference(metric, first, second) if first != second else None
            if difference is None:
                cells.append(("", "", ""))
                continue
            sign = ("up" if difference.difference > 0 else "down") if difference.significant else ""
            # A line must not break between a number and its half width.
            text = difference_text(difference).replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
            cells.append((text, p_text(difference.p_holm), sign))
        lines.append((comparison.labels[first], comparison.text(first, metric), cells))
    return {
        "title": comparison.title(metric),
        "conditions": group_conditions(comparison, group),
        "pairs": len(group.pairs[metric]),
        "heads": [comparison.labels[row] for row in rows],
        "lines": lines,
    }


MOST_CELLS = 24_000
"""Cells of the table of classes: those of 300 rows and COCO's 80 classes, or of 19 rows and LVIS's 1,203."""


def accuracy(
    comparison: Comparison, pictures: Sequence[Picture], model_pages: Mapping[int, str], embedding: Embedding
) -> dict[str, Any]:
    """The tables, plots and classes of the rows that have figures of accuracy."""
    rows = rows_with_figures(comparison)
    names = [(comparison.labels[row], model_pages.get(row)) for row in rows]
    by_class = best_of(comparison, rows, max(1, MOST_CELLS // max(1, _classes(comparison, rows))))
    tables = [figures_table(comparison, rows, headings) for headings in (COCO_HEADINGS, OTHER_HEADINGS)]
    return {
        "tables": [(heads, list(zip(names, figures, strict=True))) for heads, figures in tables if heads],
        "class_names": [comparison.labels[row] for row in by_class],
        "class_words": few_words(len(by_class), len(rows)),
        "per_class_title": comparison.with_limit("Mask AP"),
        "per_class": per_class_table(comparison, by_class),
        "pictures": [(picture, embedding.picture(picture.path)) for picture in pictures],
        "errors": ERROR_MEANINGS,
    }


def _classes(comparison: Comparison, rows: Sequence[int]) -> int:
    """How many classes have an AP in any of these rows."""
    of_rows = (accuracy_of(comparison, row) for row in rows)
    return len({name for accuracy in of_rows if accuracy for name in accuracy.per_class or {}})


def trainings(comparison: Comparison, pictures: Mapping[int, Picture], embedding: Embedding) -> list[dict[str, Any]]:
    """The label, facts and curves of each row that was trained before it was measured."""
    sections = []
    for number, row in enumerate(comparison.rows):
        if training := row.result.finetune:
            picture = pictures.get(number)
            entry = {"label": comparison.labels[number], "facts": training_facts(training), "picture": picture}
            sections.append({**entry, "uri": embedding.picture(picture.path) if picture else None})
    return sections
