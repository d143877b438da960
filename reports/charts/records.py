"""What the charts show of every row: its names, its marks, its figures and how its batches are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.schema.marks import why_never_best
from bench.schema.metrics import FIGURES, MB, shown_in
from reports.charts.look import STAGES, Look
from reports.charts.sweeps import sweeps
from reports.cut import ranked
from reports.plots.palette import HUES, SHADES
from reports.shown import shown_within
from reports.table.columns import COLUMNS, INTERVALS, dataset_name
from reports.table.comparison import Comparison
from reports.table.machine import machine_key
from reports.table.naming import SEPARATOR

Record = dict[str, Any]
"""One row of a comparison, as every chart takes it; without a value where it was not measured."""

MOST_DOTS = 50
"""Raw samples of one row that are drawn; more would only be a darker smear."""

QUANTILES = {"p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95}

ACCURACIES = tuple(name for name in shown_in("table") if "_ap" in name and COLUMNS[name].better)
"""What may stand on the upright axis of the trade-off; more is better in each."""

COSTS = (
    *("fps_model", "fps_end_to_end", "latency_ms_p50", "latency_ms_p95", "gpu_ms", "energy_j_per_image"),
    *("process_device_mb", "peak_allocated_mb", "peak_reserved_mb", "host_rss_mb", "parameters_m", "gflops", "file_mb"),
)
"""What may stand on the level axis."""


def records(comparison: Comparison, look: Look) -> list[Record]:
    """Give a record of each row that has a figure, those first that a reader wants to see first."""
    colours = row_colours(comparison, look)
    return [record | {"colour": colours[record["row"]]} for record in comparison.once(_uncoloured)]


def _uncoloured(comparison: Comparison) -> list[Record]:
    groups, lines = tradeoff_groups(comparison), sweep_lines(comparison)
    found = []
    for number in ranked(comparison):
        result = comparison.rows[number].result
        if not (result.speed or result.memory or result.accuracy):
            continue
        record = {
            **{"row": number, "name": comparison.labels[number], "marks": comparison.mark_names(number)},
            **{"library": comparison.text(number, "library")},
            **{"trusted": not why_never_best(result), "figures": figures(comparison, number)},
            **({"group": groups[number]} if number in groups else {}),
            **({"line": lines[number], "batch": comparison.cell(number, "batch_size")} if number in lines else {}),
        }
        found.append(shown_within(record | costs(comparison, number)))
    return found


def figures(comparison: Comparison, row: int) -> dict[str, list[float]]:
    """Give the row's value of each figure of the trade-off, with the ends of its interval where it has one."""
    values: dict[str, list[float]] = {}
    for name in (*ACCURACIES, *COSTS):
        value = comparison.cell(row, name)
        if value is None or comparison.noise(row, name):
            continue
        ends = [comparison.cell(row, end) for end in INTERVALS.get(name, ())]
        values[name] = [_short(number) for number in (value, *(ends if None not in ends else ()))]
    return values


def costs(comparison: Comparison, row: int) -> Record:
    """Give the row's stages and memory, the quantiles of its latency, and some of its raw samples."""
    found: Record = {}
    result = comparison.rows[row].result
    if result.speed:
        samples = np.asarray(result.speed.model.latency_ms, dtype=float)
        ends = np.percentile(samples, list(QUANTILES.values()))
        found |= {name: _short(value) for name, value in zip(QUANTILES, ends, strict=True)}
        # Samples are picked evenly, so that the same results draw the same picture.
        picked = samples[np.linspace(0, len(samples) - 1, min(len(samples), MOST_DOTS)).astype(int)]
        found["samples"] = [_short(value) for value in picked]
        if (whole := FIGURES["latency_ms_p50_end_to_end"].figure(result)) is not None:
            found["whole"] = _short(whole)
    for name in (*STAGES, "peak_allocated_mb", "peak_reserved_mb", "process_device_mb", "host_rss_mb"):
        if (value := comparison.cell(row, name)) is not None:
            found[name] = _short(value)
    memory = result.memory
    if memory and memory.parameters_bytes is not None and memory.buffers_bytes is not None:
        found["module_mb"] = _short((memory.parameters_bytes + memory.buffers_bytes) / MB)
    if comparison.noise(row, "encode_ms"):
        found["noise"] = True
    return found


def tradeoff_groups(comparison: Comparison) -> dict[int, str]:
    """Give for each row that ended well the name of those that one line may join: as many as share data and machine."""
    keys: dict[int, tuple[str, ...]] = {}
    for number in comparison.with_status("ok"):
        row = comparison.rows[number]
        settings = (str(row.setting(key)) for key in ("device", "batch_size", "detections"))
        keys[number] = (dataset_name(row), *settings, *machine_key(row))
    names = _names(list(dict.fromkeys(keys.values())))
    return {number: names[key] for number, key in keys.items()}


def _names(keys: Sequence[tuple[str, ...]]) -> Mapping[tuple[str, ...], str]:
    """Name groups by data set, device and batch size, and by what else tells two of them apart."""
    more = {3: "{} detections", 4: "{}", 5: "{} cores", 6: "{} threads", 7: "{}"}
    differing = [place for place in more if len({key[place] for key in keys}) > 1]
    return {
        key: ", ".join(
            (key[0], key[1], f"batch size {key[2]}", *(more[place].format(key[place]) for place in differing))
        )
        for key in keys
    }


def sweep_lines(comparison: Comparison) -> dict[int, str]:
    """Give for each row of a sweep over batch sizes the name of its line."""
    found = sweeps(comparison)
    names = [_sweep_name(comparison, rows[0]) for rows in found]
    distinct = [
        comparison.labels[rows[0]] if names.count(name) > 1 else name for rows, name in zip(found, names, strict=True)
    ]
    return {row: name for rows, name in zip(found, distinct, strict=True) for row in rows}


def _sweep_name(comparison: Comparison, row: int) -> str:
    named = [comparison.text(row, name) for name in ("library", "precision", "input_size")]
    model = f"{comparison.text(row, 'model')} {comparison.text(row, 'backbone')}"
    return SEPARATOR.join([model, *filter(None, named)])


def row_colours(comparison: Comparison, look: Look) -> list[str]:
    """Give the colour of each row in every chart: a hue for each model family, a shade of it for each of its rows."""
    families: dict[str, list[int]] = {}
    for row in range(len(comparison.rows)):
        families.setdefault(comparison.text(row, "model"), []).append(row)
    colours: dict[int, str] = {}
    for hue, name in enumerate(sorted(families)):
        rows = sorted(families[name], key=lambda row: comparison.labels[row])
        for place, row in enumerate(rows):
            colours[row] = look.shade(hue % len(HUES), SHADES * place / max(len(rows) - 1, 3))
    return [colours[row] for row in range(len(comparison.rows))]


def _short(value: float) -> float:
    """Give a number of six digits, which no picture shows: the page is a third smaller."""
    return float(f"{value:.6g}")
