"""Say in one line what the rows were measured on: machine, data set and images, precision and batch size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.schema.facts import data_called
from bench.schema.row import Row
from reports.answers.answer import counted
from reports.table.comparison import Comparison

_MOST = 3
"""Different values that the line lists, of batch sizes twice as many; of more it says how many there are."""


def measured_on(comparison: Comparison) -> str:
    """Give the line; what no row tells is left out, and where rows differ it says what there is.

    No machine is named, only its kind: ``NVIDIA H200, driver 580.65, AMD EPYC 9354, 16 cores · coco, 5,000 images ·
    fp16 and fp32 · batch 1``.
    """
    comparison = comparison.whole or comparison
    numbers = [row for row, of in enumerate(comparison.rows) if of.result.machine] or range(len(comparison.rows))
    rows = [comparison.rows[number] for number in numbers]
    parts = (
        _listed((_machine(row) for row in rows), "kinds of machine"),
        _listed((_data(comparison, number) for number in numbers), "data sets"),
        _listed((comparison.text(number, "precision") for number in numbers), "precisions"),
        _batches([comparison.cell(number, "batch_size") for number in numbers]),
    )
    return " · ".join(part for part in parts if part)


def _machine(row: Row) -> str:
    machine = row.result.machine or {}
    gpu, cpu = _part(machine, "gpu"), _part(machine, "cpu")
    used = gpu if str(row.setting("device") or "").startswith("cuda") else {}
    driver, cores = used.get("driver_version"), cpu.get("usable_cores")
    parts = (
        used.get("name"),
        f"driver {driver}" if driver else "",
        cpu.get("name"),
        counted(cores, "core") if isinstance(cores, int) else "",
    )
    return ", ".join(str(part) for part in parts if part)


def _part(machine: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = machine.get(key)
    return part if isinstance(part, dict) else {}


def _data(comparison: Comparison, number: int) -> str:
    row = comparison.rows[number]
    name, images = data_called(row.result), _images(row)
    first = "first " if row.setting("dataset", "limit") else ""
    return f"{name}, {first}{counted(images, 'image')}" if name and images else name


def _images(row: Row) -> int | None:
    """Give how many images AP was counted on, or would have been; None where the row does not tell."""
    accuracy = row.result.accuracy
    known: tuple[Any, ...] = (
        accuracy.images_evaluated if accuracy else None,
        row.setting("dataset", "limit"),
        row.setting("dataset", "shapes", "count"),
    )
    return next((count for count in known if isinstance(count, int) and count > 0), None)


def _batches(sizes: Iterable[Any]) -> str:
    known = sorted({size for size in sizes if isinstance(size, int)})
    return f"batch {_listed(map(str, known), 'sizes')}" if known else ""


def _listed(texts: Iterable[str], what: str) -> str:
    different = list(dict.fromkeys(text for text in texts if text))
    if len(different) > _MOST * (2 if what == "sizes" else 1):
        return f"{len(different):,} {what}"
    separator = "; " if any("," in text for text in different) else ", "
    *first, last = different or [""]
    return f"{separator.join(first)} and {last}" if first else last
