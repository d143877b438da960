"""Write every file of a report, from the result files of one run or several."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.schema.gate_report import GateReport, read_report
from reports.cut import cut
from reports.drawing.kept import Kept
from reports.drawing.process import DrawingProcess
from reports.page.beside import CHARTS, photographs_of
from reports.parts import PartFailedError, Parts
from reports.plots.picture import OTHER_FORMS
from reports.table.comparison import Comparison, load, write_csv, write_json

FILES = (
    *("comparison.html", "comparison.csv", "comparison.json", "comparison.md", "comparison.tex"),
    *("differences.csv", "differences.json"),
)
"""The files of a report beside its folders."""

_CHARTS = ("pareto*", "latency", "throughput", "stages", "memory", "errors", "calibration")

PICTURES = (
    *(f"{name}{end}" for name in _CHARTS for end in (".png", *OTHER_FORMS)),
    *("panel_*.png", "training_*.png", "masks_*.js", "masks_*.webp", CHARTS),
)
"""Patterns of the names of the files in ``plots/`` that belong to a report."""

GENERATOR = '<meta name="generator" content="maskbench">'
"""Stands in every page of ``models/`` that belongs to a report."""


def write_report(sources: Sequence[Path], out: Path, gate: Path | None = None, split: bool = False) -> Path:
    """Write the files that :func:`reports.build` names; arguments and errors are the same there."""
    with Parts() as parts, DrawingProcess() as drawing:
        comparison = load(sources, out)
        try:
            (out / "plots").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{out}: the report cannot be written: {error}") from error
        shown = cut(comparison)
        # No drawing shows a difference, and those of 45,000 pairs take a second to send.
        drawing.begin(replace(shown, whole=None, groups=[]), out.resolve(), split)
        with Kept(out) as kept, ThreadPoolExecutor(1) as executor:  # this thread waits for the pictures
            parts.run("removing of an earlier report", _remove_old, out, kept.files())
            tables = executor.submit(_write_tables, comparison, shown, out, parts)
            verdicts = parts.run("verdicts of the gate", read_report, gate) if gate else None
            parts.run("comparison.html", _write_page, shown, _Drawn(drawing, parts, kept), verdicts, out, split)
            tables.result()
        if not any((out / name).exists() for name in FILES):
            raise UserError(f"{out}: the report cannot be written; give a folder that can")
    return out / "comparison.html"


def _remove_old(out: Path, kept: Collection[str]) -> None:
    """Remove an earlier report, which may have had other rows: none of it must stand beside what is written now.

    A file in ``models/`` that is not ours stays, and so do the ``kept`` ones, which may be drawn the same again.
    """
    for name in FILES:
        (out / name).unlink(missing_ok=True)
    for pattern in PICTURES:
        for old in (out / "plots").glob(pattern):
            if f"plots/{old.name}" not in kept:
                old.unlink()
    for page in (out / "models").glob("*.html"):
        with open(page, encoding="utf-8", errors="replace") as file:
            ours = GENERATOR in file.read(1000)
        if ours and f"models/{page.name}" not in kept:
            for path in (*photographs_of(page), page):
                path.unlink()


def _write_tables(comparison: Comparison, shown: Comparison, out: Path, parts: Parts) -> None:
    """Write the files of figures, which hold all rows, and the tables for a reader, of those that are shown."""
    from reports.table.matrix import write_differences
    from reports.text.latex import write_latex
    from reports.text.markdown import write_markdown

    parts.run("comparison.csv", write_csv, comparison, out / "comparison.csv")
    parts.run("comparison.json", write_json, comparison, out / "comparison.json")
    parts.run("differences.csv and differences.json", write_differences, comparison, out)
    parts.run("comparison.md", write_markdown, shown, out / "comparison.md")
    parts.run("comparison.tex", write_latex, shown, out / "comparison.tex")


def _write_page(comparison: Comparison, drawn: _Drawn, verdicts: GateReport | None, out: Path, split: bool) -> None:
    from reports.page.comparison_page import Pictures, write_html
    from reports.page.render import Embedding

    plots, accuracy = drawn.pictures("plots"), drawn.pictures("accuracy")
    trainings = drawn.by_row("trainings")
    pictures = Pictures(
        plots,
        accuracy,
        trainings,
        panels=drawn.pictures("panels"),
        masks=drawn.pictures("masks"),
        live=next(iter(drawn.pictures("live")), None),
    )
    # A page without the images that cannot be drawn is better than none.
    pages = drawn.by_row("pages", trainings, instead="pages_without_images")
    write_html(comparison, pictures, pages, out / "comparison.html", verdicts, Embedding(split))


class _Drawn:
    """Lets the other process draw what it can; each picture is a part of the report.

    What an earlier report has drawn from the same is taken as it is.
    """

    def __init__(self, drawing: DrawingProcess, parts: Parts, kept: Kept) -> None:
        self._drawing, self._parts, self._kept = drawing, parts, kept

    def pictures(self, section: str) -> list[Any]:
        """Give the pictures of a section in their order."""
        return [picture for answer in self._answers(section) for picture in answer]

    def by_row(self, section: str, *given: Any, instead: str | None = None) -> dict[int, Any]:
        """Give the pictures, or the names of the pages, of a section by the numbers of their rows."""
        drawn: dict[int, Any] = {}
        for answer in self._answers(section, *given, instead=instead):
            drawn |= answer
        return drawn

    def _key(self, section: str, place: int, *given: Any) -> str | None:
        """Give the digest of what a drawing follows from; None where it cannot be told, so it is drawn."""
        try:
            return self._drawing.ask("key", section, place, *given)
        except PartFailedError:
            return None

    def _answers(self, section: str, *given: Any, instead: str | None = None) -> list[Any]:
        """Draw a section; what cannot be drawn by its own method is tried by another, ``instead``."""
        ask, run = self._drawing.ask, self._parts.run
        answers = []
        for place, name in enumerate(run(section, ask, "names", section) or ()):
            key = self._key(section, place, *given)
            answer = self._kept.find(section, name, key)
            if answer is None:
                answer = run(name if instead is None else f"images of {name}", ask, section, place, *given)
                self._kept.note(section, name, key, answer)
            if answer is None and instead is not None:
                answer = run(name, ask, instead, place, *given)
            answers += [] if answer is None else [answer]
        return answers
