"""The comparison as one HTML page that needs nothing else: styles, script and pictures are inside it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from bench.result import SpeedResult, Timing
from reports.columns import COLUMNS, images_per_second, percentile
from reports.comparison import Comparison, model_name
from reports.conditions import CLOCKS, ROW_COLUMNS, conditions, row_conditions
from reports.machine import flat_text
from reports.plots import Picture

TEMPLATES = Path(__file__).parent / "templates"

SHOWN = (
    *("model", "mask_ap", "mask_ap50", "mask_ap75", "published_mask_ap", "fps_model", "fps_end_to_end"),
    *("latency_ms_p50", "latency_ms_p95", "peak_allocated_mb", "host_rss_mb"),
    *("parameters_m", "gflops", "energy_j_per_image", "detections_per_image"),
)
"""Columns shown at first; the others are a click away."""

TELLING = ("weights", "dataset", "device", "precision", "batch_size")
"""Columns shown at first where rows differ in them; else the conditions below the table say it once."""


def write_html(comparison: Comparison, plots: Sequence[Picture], panels: Sequence[Picture], path: Path) -> Path:
    """Write the page to ``path``; gives ``path``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        subtitle=_subtitle(comparison),
        columns=_columns(comparison),
        rows=[_row(comparison, row) for row in range(len(comparison.jobs)) if _in_table(comparison, row)],
        problems=[
            (
                "Not finished",
                "These jobs were started and did not end well; what they measured before is kept.",
                [_problem(comparison, row) for row in comparison.broken()],
            ),
            (
                "Skipped",
                "These jobs were not started.",
                [_problem(comparison, row) for row in comparison.rows("skipped")],
            ),
        ],
        conditions=conditions(comparison),
        row_heads=ROW_COLUMNS,
        row_conditions=row_conditions(comparison),
        plots=[(picture, _data_uri(picture.path)) for picture in plots],
        panels=[(picture, _data_uri(picture.path, photograph=True)) for picture in panels],
        definitions=list(COLUMNS.values()),
        jobs=[_details(comparison, row) for row in range(len(comparison.jobs))],
        best=bool(comparison.best),
    )
    path.write_text(page, encoding="utf-8")
    return path


def _in_table(comparison: Comparison, row: int) -> bool:
    return comparison.jobs[row].result.status != "skipped"


def _subtitle(comparison: Comparison) -> str:
    models = len({(model_name(job), job.setting("model", "library")) for job in comparison.jobs})
    datasets = sorted(set(comparison.frame["dataset"].dropna()))
    days = sorted({job.result.started[:10] for job in comparison.jobs if job.result.started})
    count = (
        f"{models} model{'s' if models != 1 else ''}, {len(comparison.rows('ok'))} of {len(comparison.jobs)} rows ok"
    )
    measured = " to ".join(dict.fromkeys((*days[:1], *days[-1:])))
    return " · ".join(part for part in (count, ", ".join(datasets), f"measured {measured}" if measured else "") if part)


def _columns(comparison: Comparison) -> list[dict[str, Any]]:
    measured = comparison.measured()
    differing = [name for name in TELLING if comparison.frame[name].nunique() > 1]
    return [
        {
            "name": name,
            # With a hyphen to break at, a narrow head would stand four lines high.
            "title": column.title.replace("-", "\u2011"),
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


def _row(comparison: Comparison, row: int) -> dict[str, Any]:
    job = comparison.jobs[row]
    cells = {
        name: {
            "text": comparison.text(row, name),
            "value": "" if comparison.cell(row, name) is None else comparison.cell(row, name),
            "best": (row, name) in comparison.best,
        }
        for name in COLUMNS
    }
    second = " · ".join(str(job.setting("model", key)) for key in ("backbone", "library") if job.setting("model", key))
    return {"cells": cells, "second": second, "label": comparison.labels[row], "status": job.result.status}


def _problem(comparison: Comparison, row: int) -> dict[str, str]:
    names = ("status", "reason", "result")
    return {"label": comparison.labels[row], **{name: comparison.text(row, name) for name in names}}


def _details(comparison: Comparison, row: int) -> dict[str, Any]:
    """What the table has no room for: facts, boundaries, AP by class, configuration of one job."""
    job = comparison.jobs[row]
    result, speed, accuracy = job.result, job.result.speed, job.result.accuracy
    facts = {
        "Result": job.shown,
        "Started": result.started,
        "Seconds": None if result.seconds is None else f"{result.seconds:.1f}",
        "Weights": job.weights,
        "SHA-256 of weights": result.model.weights_sha256 if result.model else None,
        "Published": flat_text(result.published) if result.published.get("mask_ap") is not None else None,
        "First call": f"{speed.first_call_ms:.0f} ms" if speed else None,
        "Figures": accuracy.figures_absent if accuracy else None,
        "Detections": accuracy.detections if accuracy else None,
        "Evaluation": f"{accuracy.seconds:.1f} s" if accuracy and accuracy.seconds is not None else None,
    }
    per_class = (accuracy.per_class if accuracy and not job.random_weights else None) or {}
    return {
        "label": comparison.labels[row],
        "status": result.status,
        "reason": comparison.text(row, "reason"),
        "facts": [(name, value) for name, value in facts.items() if value is not None],
        "notes": result.notes,
        "boundaries": _boundaries(speed) if speed else [],
        "per_class": [(name, "" if value is None else f"{100 * value:.1f}") for name, value in _by_ap(per_class)],
        "config": json.dumps(result.config, indent=2, ensure_ascii=False),
        "choices": flat_text(result.choices),
    }


def _by_ap(per_class: dict[str, float | None]) -> list[tuple[str, float | None]]:
    return sorted(per_class.items(), key=lambda item: -1.0 if item[1] is None else item[1], reverse=True)


def _boundaries(speed: SpeedResult) -> list[tuple[str, ...]]:
    """Name, FPS, p50, p95, p99, batches and clock of the two boundaries timed whole and of the three stages."""
    timings: dict[str, Timing] = {
        "model": speed.model,
        "end to end": speed.end_to_end,
        "preprocess (stage)": speed.preprocess,
        "network (stage)": speed.network,
        "postprocess (stage)": speed.postprocess,
    }
    table = []
    for name, timing in timings.items():
        fps = images_per_second(speed.batch_size, timing.latency_ms)
        percentiles = [percentile(timing.latency_ms, q) for q in (50, 95, 99)]
        numbers = ["" if value is None else f"{value:.2f}" for value in (fps, *percentiles)]
        table.append((name, *numbers, str(len(timing.latency_ms)), CLOCKS.get(timing.clock, timing.clock)))
    return table


def _data_uri(path: Path, photograph: bool = False) -> str:
    """The picture inside the page; photographs as JPEG, a fifth of the size."""
    data, kind = path.read_bytes(), "png"
    if photograph:
        buffer = io.BytesIO()
        with Image.open(path) as image:
            image.convert("RGB").save(buffer, "JPEG", quality=86)
        data, kind = buffer.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
