"""The comparison as one HTML page that needs nothing else: styles, script and pictures are inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bench.files.json_file import write_text_atomically
from bench.schema.gate_report import GateReport
from bench.schema.metrics import NOISE, shown_in
from reports.answers.measured_on import measured_on
from reports.answers.sentences import answers
from reports.charts.live import Live
from reports.conversion.costs import HEADS as COST_HEADS
from reports.conversion.costs import MEANING as COSTS_MEANING
from reports.conversion.costs import cost_lines
from reports.cut import cut_words
from reports.masks.shown import Masks
from reports.page.beside import CHARTS
from reports.page.controls import controls, figures
from reports.page.details import job_details
from reports.page.masks_section import masks_data
from reports.page.render import INSIDE, Embedding, render
from reports.page.sections import accuracy, matrix, trainings
from reports.plots.picture import Picture
from reports.shown import shown_within
from reports.table.checks import published, signed, warnings
from reports.table.claims import MEANING, claims
from reports.table.columns import COLUMNS, INTERVALS, dataset_name, evaluated_without_images, setting_columns
from reports.table.comparison import OVERLAPPING, Comparison
from reports.table.differences import METRICS
from reports.table.matrix import p_text
from reports.table.naming import SEPARATOR, model_name, row_details
from reports.text.conditions import ROW_COLUMNS, conditions, mark_conditions, row_conditions, row_notes
from reports.text.gate_table import HEADS, gate_rows
from reports.text.published import HEADS as HEADS_OF_PUBLISHED
from reports.text.published import MEANING as MEANING_OF_PUBLISHED
from reports.text.published import published_lines

SHOWN = ("model", *shown_in("page"))
"""Columns shown at first; the others are a click away."""


NOISE_TOOLTIP = f"{NOISE[0].upper()}{NOISE[1:]}."


def telling() -> list[str]:
    """Columns shown at first where rows differ in them; else the conditions below the table say it once."""
    return setting_columns(naming=False)


@dataclass(frozen=True)
class Pictures:
    """The pictures of a report: plots of all rows, of their accuracy, of trainings by row, and panels; the files of the
    viewer of masks; and what the page needs to draw the plots itself."""

    plots: Sequence[Picture] = ()
    accuracy: Sequence[Picture] = ()
    trainings: Mapping[int, Picture] = field(default_factory=dict)
    panels: Sequence[Picture] = ()
    masks: Sequence[Masks] = ()
    live: Live | None = None


def write_html(
    comparison: Comparison,
    pictures: Pictures,
    model_pages: Mapping[int, str],
    path: Path,
    gate: GateReport | None = None,
    embedding: Embedding = INSIDE,
) -> Path:
    """Write the page to ``path`` and give ``path``; ``model_pages`` are links by row, relative to the page."""
    page = render(
        "report.html",
        policy=embedding.policy,
        subtitle=_subtitle(comparison),
        measured_on=measured_on(comparison),
        answers=answers(comparison),
        **_table(comparison, model_pages),
        **_judgements(comparison, gate),
        problems=_problems(comparison),
        conditions=conditions(comparison),
        row_heads=ROW_COLUMNS,
        row_conditions=row_conditions(comparison),
        **_pictures(comparison, pictures, model_pages, embedding, path.parent),
        definitions=list(COLUMNS.values()),
        jobs=[{**job_details(comparison, row), "page": model_pages.get(row)} for row in range(len(comparison.rows))],
    )
    write_text_atomically(path, page)
    return path


def _table(comparison: Comparison, model_pages: Mapping[int, str]) -> dict[str, Any]:
    """The table of all rows but the skipped ones, and what its legend says."""
    rows = [number for number, row in enumerate(comparison.rows) if row.result.status != "skipped"]
    details = row_details(comparison.rows, ("model", "backbone", "library", *comparison.differing(telling())))
    return {
        "columns": _columns(comparison),
        "rows": [_row(comparison, number, model_pages, details[number]) for number in rows],
        "cut": cut_words(comparison),
        "best": bool(comparison.best),
        "best_words": comparison.best_words(),
        "noise": comparison.noise_meaning(COLUMNS),
        "intervals": " and ".join(comparison.title(name) for name in INTERVALS if comparison.has_intervals(name)),
        "row_marks": mark_conditions(comparison),
        "figures": shown_within(figures(comparison)),
        **controls(comparison),
        "published": any(published(row) for row in comparison.rows),
    }


def _judgements(comparison: Comparison, gate: GateReport | None) -> dict[str, Any]:
    """What is said about the rows: verdicts of the gate, warnings, claims, costs of conversions, differences."""
    return {
        "gate": gate,
        "gate_heads": HEADS,
        "gate_rows": gate_rows(gate) if gate else [],
        "warnings": [
            (comparison.labels[number], text) for number, row in enumerate(comparison.rows) for text in warnings(row)
        ],
        "notes": row_notes(comparison),
        "claims": claims(comparison),
        "claims_meaning": MEANING,
        "published_heads": HEADS_OF_PUBLISHED,
        "published_lines": published_lines(comparison),
        "published_meaning": MEANING_OF_PUBLISHED,
        "costs": cost_lines(comparison),
        "cost_heads": COST_HEADS,
        "costs_meaning": COSTS_MEANING,
        "matrices": [
            matrix(comparison, group, metric)
            for group in comparison.groups
            for metric in METRICS
            if group.pairs[metric]
        ],
    }


def _problems(comparison: Comparison) -> list[tuple[str, str, list[dict[str, str]]]]:
    """The title, the meaning and the rows of the two kinds of job that have no result to compare."""
    unfinished = "These jobs were started and did not end well; what they measured before is kept."
    skipped = "These jobs were not started."
    return [
        ("Not finished", unfinished, [_problem(comparison, row) for row in comparison.failed()]),
        ("Skipped", skipped, [_problem(comparison, row) for row in comparison.with_status("skipped")]),
    ]


def _pictures(
    comparison: Comparison,
    pictures: Pictures,
    model_pages: Mapping[int, str],
    embedding: Embedding,
    folder: Path,
) -> dict[str, Any]:
    """The sections that show pictures; each picture lies inside the page, or beside it in ``folder``."""
    return {
        "charts": _charts(pictures.live, embedding, folder),
        "plots": [(picture, embedding.picture(picture.path)) for picture in pictures.plots],
        "accuracy": accuracy(comparison, pictures.accuracy, model_pages, embedding),
        "trainings": trainings(comparison, pictures.trainings, embedding),
        # The first one is for a reader without JavaScript; the others are files for a paper.
        "panels": [
            (picture, "" if place else embedding.picture(picture.path, photograph=True))
            for place, picture in enumerate(pictures.panels)
        ],
        "masks": masks_data(pictures.masks, comparison.labels, model_pages, embedding),
        "panels_absent": _panels_absent(comparison),
    }


def _charts(live: Live | None, embedding: Embedding, folder: Path) -> dict[str, Any] | None:
    """What the page needs to draw the charts itself: JSON that cannot end its script element, and the library."""
    if live is None:
        return None
    # A page from a file may load a script, but may not read a file.
    beside = embedding.text(folder / embedding.beside / CHARTS, f'self.maskbenchCharts = "{live.library}";\n')
    data = Markup(live.data.replace("<", "\\u003c"))
    return {"data": data, "library": "" if beside else live.library, "beside": beside}


def _panels_absent(comparison: Comparison) -> str:
    """Say of which datasets there can be no panels; "" where there can be of all."""
    names = sorted({dataset_name(row) for row in comparison.rows if evaluated_without_images(row)})
    sets = "the dataset was" if len(names) == 1 else "the datasets were"
    return f"No panels of {', '.join(names)}: {sets} evaluated without image files." if names else ""


def _subtitle(comparison: Comparison) -> str:
    comparison = comparison.whole or comparison
    models = len({(model_name(row), row.setting("model", "library")) for row in comparison.rows})
    datasets = sorted(set(comparison.frame["dataset"].dropna()))
    days = sorted({row.result.started[:10] for row in comparison.rows if row.result.started})
    ended_well = f"{len(comparison.with_status('ok'))} of {len(comparison.rows)} rows ok"
    count = f"{models} model{'s' if models != 1 else ''}, {ended_well}"
    measured = " to ".join(dict.fromkeys((*days[:1], *days[-1:])))
    return " · ".join(part for part in (count, ", ".join(datasets), f"measured {measured}" if measured else "") if part)


def _columns(comparison: Comparison) -> list[dict[str, Any]]:
    measured = comparison.measured()
    differing = comparison.differing(telling())
    return [
        {
            "name": name,
            # The hyphen must not break: a narrow head would stand four lines high.
            "title": comparison.title(name).replace("-", "\u2011"),
            "unit": column.unit if column.unit not in ("points", "images", "per image", "images/s") else "",
            "tooltip": _tooltip(name),
            "numeric": column.decimals is not None,
            "first": "desc" if column.better == "high" else "asc",
            "shown": (name in SHOWN or name in differing) and (name != "published_mask_ap" or "mask_ap" in measured),
        }
        for name, column in COLUMNS.items()
        if name in measured
    ]


def _tooltip(name: str) -> str:
    column = COLUMNS[name]
    better = {"high": " Higher is better.", "low": " Lower is better.", None: ""}[column.better]
    return (
        f"{column.description[0].upper()}{column.description[1:]}{f' [{column.unit}]' if column.unit else ''}.{better}"
    )


def _row(comparison: Comparison, number: int, model_pages: Mapping[int, str], details: Sequence[str]) -> dict[str, Any]:
    row = comparison.rows[number]
    cells = {
        name: {
            "text": comparison.text(number, name),
            "value": "" if comparison.cell(number, name) is None else comparison.cell(number, name),
            "best": (number, name) in comparison.best,
            "note": comparison.interval(number, name) if name in INTERVALS else "",
            "interval": name in INTERVALS,
            "bad": False,
            "noise": comparison.noise(number, name),
            "tooltip": NOISE_TOOLTIP if comparison.noise(number, name) else "",
        }
        for name in COLUMNS
    }
    for name in (column for row_of, column in comparison.overlapping if row_of == number):
        cells[name]["tooltip"] = f"One of {OVERLAPPING}."
    if number in comparison.tied:
        p = p_text(comparison.tied[number])
        cells["mask_ap"]["tooltip"] = f"Not distinguishable from the best: corrected {p}"
    if check := published(row):
        cells["published_mask_ap"] |= {"note": signed(check.difference), "bad": not check.holds, "tooltip": check.text}
    second = [str(row.setting("model", key)) for key in ("backbone", "library") if row.setting("model", key)]
    second += details
    return {
        "number": number,
        "cells": cells,
        "second": SEPARATOR.join(second),
        "label": comparison.labels[number],
        "marks": comparison.marks_of(number),
        "status": row.result.status,
        "page": model_pages.get(number),
    }


def _problem(comparison: Comparison, row: int) -> dict[str, str]:
    names = ("status", "reason", "result")
    return {"label": comparison.labels[row], **{name: comparison.text(row, name) for name in names}}
