"""What the pages of a site show, as the templates take it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.schema.metrics import shown_in
from reports.site.command import command_of
from reports.site.conditions import Board
from reports.site.gather import RESULT, Measurement
from reports.table.columns import COLUMNS, INTERVALS
from reports.table.comparison import Comparison
from reports.table.machine import machine_text, maskbench_text
from reports.table.naming import SEPARATOR, model_name, row_details
from reports.text.conditions import row_setting

SHOWN = ("fps_end_to_end", "host_rss_mb", "energy_j_per_image", *shown_in("page"))
"""Figures of a leaderboard, where any of its rows has them."""

_LONGEST = 60


def slug(name: str, key: object) -> str:
    """Give a part of an address: the name in plain letters, and the beginning of the digest of ``key``."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST].strip("-")
    return f"{plain or 'page'}-{hashlib.sha256(repr(key).encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Site:
    """All that the pages tell of.

    measurements: by the number of the row
    models: rows by (model, library), in the order of the names
    runs: rows by the folders of their run
    addresses: of the pages of models and runs, by the keys of ``models`` and ``runs``
    """

    comparison: Comparison
    measurements: Sequence[Measurement]
    boards: Sequence[Board]
    models: Mapping[tuple[str, str], list[int]]
    runs: Mapping[tuple[str, ...], list[int]]
    addresses: Mapping[tuple[str, ...], str]

    def model_of(self, row: int) -> tuple[str, str]:
        return model_key(self.comparison, row)

    def record(self, row: int) -> str:
        """Give the address of what the site says of one measurement: its figures, its file, its command."""
        return f"{self.addresses[self.model_of(row)]}#{anchor(self.measurements[row])}"


def model_key(comparison: Comparison, row: int) -> tuple[str, str]:
    """Give what a model's page is of: the model with its backbone, and the library."""
    one = comparison.rows[row]
    return model_name(one), str(one.setting("model", "library", default="?"))


def anchor(one: Measurement) -> str:
    return f"m-{one.digest[:12]}"


def board_page(site: Site, board: Board) -> dict[str, Any]:
    """Give what the page of a leaderboard shows; it lies one folder below the site's own."""
    comparison = site.comparison
    columns = _columns(comparison, board.rows)
    groups = []
    for group in board.groups:
        details = row_details([comparison.rows[row] for row in group.rows], ("model", "backbone", "library"))
        rows = [_line(site, row, columns, SEPARATOR.join(own)) for row, own in zip(group.rows, details, strict=True)]
        groups.append({"conditions": group.conditions, "rows": rows})
    return {"board": board, "columns": _heads(columns), "groups": groups, "best": comparison.best_words()}


def model_page(site: Site, key: tuple[str, str], rows: Sequence[int]) -> dict[str, Any]:
    """Give what the page of a model shows: all that was measured of it, on whatever machine."""
    comparison, boards = site.comparison, {row: board for board in site.boards for row in board.rows}
    columns = _columns(comparison, rows)
    details = row_details([comparison.rows[row] for row in rows], ("model", "backbone", "library"))
    records = []
    for row, own in zip(rows, details, strict=True):
        one, board = comparison.rows[row], boards.get(row)
        line = _line(site, row, columns, SEPARATOR.join(own))
        facts = [*row_setting(one), ("Machine", machine_text(one.result.machine or {}))]
        facts += [("maskbench", maskbench_text(one.result.machine or {})), ("Measured", one.result.started or "")]
        records.append({**line, "facts": [(name, text) for name, text in facts if text], "command": command_of(one)})
        records[-1] |= {"board": board, "notes": one.result.notes, "reason": comparison.text(row, "reason")}
    boarded = sorted({board.title: board for row in rows if (board := boards.get(row))}.items())
    return {"title": SEPARATOR.join(key), "columns": _heads(columns), "records": records, "boards": boarded}


def run_page(site: Site, key: tuple[str, ...], rows: Sequence[int], report: str | None) -> dict[str, Any]:
    """Give what the page of a run shows; ``report`` is the address of its report, from the site's own folder."""
    comparison = site.comparison
    columns = _columns(comparison, rows)
    details = row_details([comparison.rows[row] for row in rows], ("model", "backbone", "library"))
    lines = [_line(site, row, columns, SEPARATOR.join(own)) for row, own in zip(rows, details, strict=True)]
    machines = dict.fromkeys(machine_text(comparison.rows[row].result.machine or {}) for row in rows)
    return {
        **{"title": " / ".join(key), "columns": _heads(columns), "rows_shown": lines, "report": report},
        "machines": [text for text in machines if text],
        "days": sorted({(comparison.rows[row].result.started or "")[:10] for row in rows} - {""}),
    }


def index_page(
    site: Site, left_out: Sequence[tuple[str, str]], copies: int, trends: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Give what the first page shows."""
    comparison = site.comparison
    by_data: dict[str, list[dict[str, Any]]] = {}
    for board in site.boards:
        first = board.groups[0]
        columns = [name for name in ("mask_ap", "fps_model") if _columns(comparison, first.rows, (name,))]
        top = [_line(site, row, columns, "") for row in first.rows[:3]]
        said = {"board": board, "columns": _heads(columns), "top": top, "conditions": first.conditions}
        by_data.setdefault(board.data, []).append(said)
    runs = [
        (" / ".join(key), site.addresses[key], len(rows), _days(comparison, rows)) for key, rows in site.runs.items()
    ]
    return {
        **{"data": by_data, "runs": runs, "left_out": left_out, "copies": copies, "trends": trends},
        "models": [(SEPARATOR.join(key), site.addresses[key], len(rows)) for key, rows in site.models.items()],
        "entries": list(_entries(site)),
        "count": len(comparison.rows),
    }


def _entries(site: Site) -> Iterable[tuple[str, str, str, str]]:
    """Give what the search finds: its kind, its title, more words, and its address."""
    for each in site.boards:
        yield "leaderboard", each.title, " ".join(each.also), each.address
    placed = {row: (board, group) for board in site.boards for group in board.groups for row in group.rows}
    for key, rows in site.models.items():
        where = dict.fromkeys(placed[row][0].title for row in rows if row in placed)
        yield "model", SEPARATOR.join(key), ", ".join(where), site.addresses[key]
        for row in rows:
            status = site.comparison.rows[row].result.status
            board, group = placed.get(row, (None, None))
            where_text = f"{board.title} {group.conditions}" if board and group else status.replace("_", " ")
            yield "result", SEPARATOR.join(key), where_text.strip(), site.record(row)
    for run in site.runs:
        yield "run", " / ".join(run), "", site.addresses[run]


def _days(comparison: Comparison, rows: Iterable[int]) -> str:
    days = sorted({(comparison.rows[row].result.started or "")[:10] for row in rows} - {""})
    return " to ".join(dict.fromkeys((*days[:1], *days[-1:])))


def _columns(comparison: Comparison, rows: Iterable[int], names: Iterable[str] | None = None) -> list[str]:
    wanted = [name for name in COLUMNS if name in SHOWN] if names is None else names
    numbers = list(rows)
    return [name for name in wanted if any(comparison.cell(row, name) is not None for row in numbers)]


def _heads(columns: Iterable[str]) -> list[dict[str, str]]:
    return [
        {
            **{"name": name, "title": COLUMNS[name].title, "tooltip": COLUMNS[name].description},
            "unit": COLUMNS[name].unit if COLUMNS[name].unit not in ("points", "images/s") else "",
            "first": "desc" if COLUMNS[name].better == "high" else "asc",
        }
        for name in columns
    ]


def _line(site: Site, row: int, columns: Iterable[str], details: str) -> dict[str, Any]:
    """Give one row of a table: each figure stands in it with its interval and the address of its record."""
    comparison, one = site.comparison, site.measurements[row]
    key = site.model_of(row)
    cells = []
    for name in columns:
        low, high = (comparison.text(row, end) for end in INTERVALS.get(name, ())) if name in INTERVALS else ("", "")
        value = comparison.cell(row, name)
        cells.append(
            {
                **{"text": comparison.text(row, name), "value": "" if value is None else value},
                "interval": f"[{low}, {high}]" if low and high else "",
                **{"best": (row, name) in comparison.best, "noise": comparison.noise(row, name)},
            }
        )
    return {
        **{"model": key[0], "library": key[1], "details": details, "cells": cells, "anchor": anchor(one)},
        **{"status": one.result.status, "marks": comparison.marks_of(row), "record": site.record(row)},
        **{"page": site.addresses[key], "run": site.addresses[one.run], "run_name": " / ".join(one.run)},
        "result": f"{one.place}/{RESULT}",
    }
