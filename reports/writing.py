"""Write every file of a report, from the result files of one run or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError
from bench.schema.gate_report import read_report
from reports.table.comparison import load, write_csv, write_json

PICTURES = (
    *("pareto*.png", "latency.png", "throughput.png", "stages.png", "memory.png", "panel_*.png"),
    *("errors.png", "calibration.png", "training_*.png"),
)
"""Patterns of the names of the files in ``plots/`` that belong to a report."""


def write_report(sources: Sequence[Path], out: Path, gate: Path | None = None) -> Path:
    """Write the files that :func:`reports.build` names; arguments and errors are the same there."""
    from reports.page.comparison_page import Pictures, write_html
    from reports.page.model_pages import write_model_pages
    from reports.plots.accuracy import draw_accuracy_plots
    from reports.plots.ground_truth import Datasets
    from reports.plots.overview import draw_plots
    from reports.plots.panels import draw_panels
    from reports.plots.training import draw_training
    from reports.table.matrix import write_differences
    from reports.text.latex import write_latex
    from reports.text.markdown import write_markdown

    comparison, verdicts = load(sources, out), read_report(gate) if gate else None
    plots, datasets = out / "plots", Datasets()
    try:
        plots.mkdir(parents=True, exist_ok=True)
        # A picture of an earlier report, with other rows, must not stand beside this one's tables.
        for pattern in PICTURES:
            for old in plots.glob(pattern):
                old.unlink()
        write_csv(comparison, out / "comparison.csv")
        write_json(comparison, out / "comparison.json")
        write_differences(comparison, out)
        write_markdown(comparison, out / "comparison.md")
        write_latex(comparison, out / "comparison.tex")
        pictures = Pictures(
            draw_plots(comparison, plots),
            draw_accuracy_plots(comparison, plots),
            draw_training(comparison, plots),
            draw_panels(comparison, plots, datasets),
        )
        pages = write_model_pages(comparison, pictures.trainings, datasets, out)
        return write_html(comparison, pictures, pages, out / "comparison.html", verdicts)
    except OSError as error:
        raise UserError(f"{out}: the report cannot be written: {error}") from error
