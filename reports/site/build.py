"""Writes a site: first the results as they are published, then the pages, which are made of those alone."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.schema.metrics import FIGURES
from reports.page.render import render
from reports.parts import Parts
from reports.site.conditions import boards, held
from reports.site.folder import SiteFolder
from reports.site.gather import RESULT, Gathered, Measurement, gather
from reports.site.pages import Site, board_page, index_page, model_key, model_page, run_page, slug
from reports.table.columns import COLUMNS
from reports.table.comparison import load
from reports.writing import FILES, GENERATOR, PICTURES, write_report

REPORTS = ("copy", "draw", "none")
"""What becomes of the reports of runs: those that are there are copied, all are drawn from the results, or neither."""

REPORT = "report"
"""The folder of a run's report in the site, below that of the run."""


@dataclass(frozen=True)
class Built:
    """What was built.

    page: the first page
    reports: how many runs have their report in the site
    cleaned: how many files held what must not be published, and are in the site without it
    """

    page: Path
    site: Site
    gathered: Gathered
    reports: int
    cleaned: int


def build_site(sources: Sequence[Path], out: Path, histories: Sequence[Path] = (), reports: str = "copy") -> Built:
    """Write a site of every result under the sources into ``out``.

    histories: files of histories, each of which gets its page of trends
    reports: one of :data:`REPORTS`

    Raises:
        UserError: a source or a history does not exist, no result can be read, or ``out`` cannot be written.
    """
    _check(histories)
    gathered = gather(sources, out)
    folder = SiteFolder(out)
    for one in gathered.measurements:
        folder.write(f"{one.place}/{RESULT}", one.content)
    site = _site(gathered.measurements, out)
    with Parts("the site") as parts:
        drawn = _reports(site, folder, reports, parts)
        trends = [trend for path in histories for trend in [_trend(path, folder)]]
        _write_pages(site, folder, drawn, index_page(site, gathered.left_out, gathered.copies, trends))
    folder.finish()
    cleaned = sum(one.cleaned for one in gathered.measurements)
    return Built(out / "index.html", site, gathered, len(drawn), cleaned)


def _site(measurements: Sequence[Measurement], out: Path) -> Site:
    """Read the results as they are published, and find what belongs together."""
    comparison = load([out / one.place / RESULT for one in measurements], out, warn=False, key=held)
    by_place = {f"{one.place}/{RESULT}": one for one in measurements}
    in_order = [by_place[Path(row.shown).as_posix()] for row in comparison.rows]
    models: dict[tuple[str, str], list[int]] = {}
    runs: dict[tuple[str, ...], list[int]] = {}
    for number, one in enumerate(in_order):
        models.setdefault(model_key(comparison, number), []).append(number)
        runs.setdefault(one.run, []).append(number)
    found = boards(comparison.rows)
    for board in found:
        board.address = f"boards/{slug(board.title, (board.data, board.hardware))}.html"
    addresses: dict[tuple[str, ...], str] = {
        **{model: f"models/{slug(' '.join(model), model)}.html" for model in models},
        **{run: f"runs/{slug('-'.join(run[-2:]), run)}/index.html" for run in runs},
    }
    return Site(comparison, in_order, found, dict(sorted(models.items())), dict(sorted(runs.items())), addresses)


def _write_pages(site: Site, folder: SiteFolder, reports: Mapping[tuple[str, ...], str], index: dict[str, Any]) -> None:
    folder.write("index.html", render("site_index.html", root="", **index))
    for board in site.boards:
        folder.write(board.address, render("site_board.html", root="../", **board_page(site, board)))
    for model, rows in site.models.items():
        folder.write(site.addresses[model], render("site_model.html", root="../", **model_page(site, model, rows)))
    for run, rows in site.runs.items():
        shown = run_page(site, run, rows, reports.get(run))
        folder.write(site.addresses[run], render("site_run.html", root="../../", **shown))
    folder.write(".nojekyll", "")  # GitHub Pages would leave out what Jekyll has no use for


def _reports(site: Site, folder: SiteFolder, how: str, parts: Parts) -> dict[tuple[str, ...], str]:
    """Bring the reports of the runs into the site; give their addresses, from the site's own folder."""
    make: Callable[[Site, tuple[str, ...], SiteFolder, str], bool] | None
    make = {"copy": _copied, "draw": _drawn}.get(how)
    found = {}
    for run in site.runs if make else ():
        assert make is not None
        place = f"{site.addresses[run].removesuffix('/index.html')}/{REPORT}"
        if parts.run(f"the report of {'/'.join(run)}", make, site, run, folder, place):
            found[run] = f"{place}/comparison.html"
    return found


def _copied(site: Site, run: tuple[str, ...], folder: SiteFolder, place: str) -> bool:
    """Copy the report that measuring wrote, if there is one.

    Raises:
        UserError: it is of other figures than its results, since one was measured or changed after it.
    """
    source = next(site.measurements[row].folder for row in site.runs[run])
    if not (source / "comparison.html").is_file():
        return False
    if stale := _stale(site, run, source):
        raise UserError(f"{stale} has changed since it was written; write it anew, or give --reports draw")
    for path in [*(source / name for name in FILES), *_pages(source), *_pictures(source)]:
        folder.copy(path, f"{place}/{path.relative_to(source).as_posix()}")
    return True


def _stale(site: Site, run: tuple[str, ...], source: Path) -> str | None:
    """Give the name of a job of the run whose figures are not in its report; None where all are.

    The figures decide, as ``comparison.json`` has them: a folder that was copied has other times of its files.
    """
    records = _records(source / "comparison.json")
    written = (source / "comparison.html").stat().st_mtime_ns
    for row in site.runs[run]:
        job = site.measurements[row].job
        if records is not None:
            if not any(_same_figures(site, row, record) for record in records):
                return job
        elif any(path.stat().st_mtime_ns > written for path in (source / "jobs" / job / RESULT,) if path.is_file()):
            return job
    return None


def _records(path: Path) -> list[dict[str, Any]] | None:
    try:
        read = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return [one for one in read if isinstance(one, dict)] if isinstance(read, list) else None


def _same_figures(site: Site, row: int, record: Mapping[str, Any]) -> bool:
    for name in FIGURES:
        if name in COLUMNS and name in record:
            ours, theirs = site.comparison.cell(row, name), record[name]
            if (ours is None) != (theirs is None):
                return False
            if isinstance(ours, (int, float)) and not (
                isinstance(theirs, (int, float)) and math.isclose(ours, theirs, rel_tol=1e-6, abs_tol=1e-9)
            ):
                return False
    return True


def _pages(source: Path) -> list[Path]:
    found = []
    for page in sorted((source / "models").glob("*.html")):
        with contextlib.suppress(OSError), open(page, encoding="utf-8", errors="replace") as file:
            found += [page] if GENERATOR in file.read(1000) else []
    return found


def _pictures(source: Path) -> list[Path]:
    return sorted({path for pattern in PICTURES for path in (source / "plots").glob(pattern)})


def _drawn(site: Site, run: tuple[str, ...], folder: SiteFolder, place: str) -> bool:
    """Draw the report from the results where they lie, beside which the predictions are."""
    out = folder.out / place
    write_report([site.measurements[row].folder for row in site.runs[run]], out)
    for path in sorted(out.rglob("*")):
        if path.is_file():
            folder.keep(path.relative_to(folder.out).as_posix())
    return True


def _check(histories: Sequence[Path]) -> None:
    from bench.history.store import History

    for path in histories:
        if not History(path).path.exists():
            raise UserError(f"--history {path}: no such history; give the file that history= names, or its folder")


def _trend(path: Path, folder: SiteFolder) -> tuple[str, str]:
    """Write the page of trends of a history; give its name and its address."""
    from bench.history.store import History
    from reports.page.trend import write_trend

    history = History(path)
    name = history.path.parent.resolve().name or history.path.stem
    address = f"trends/{slug(name, str(path))}.html"
    write_trend(history, folder.out / address)
    folder.keep(address)
    return name, address
