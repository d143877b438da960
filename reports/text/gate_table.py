"""Give the findings of a gate as a table for a terminal, and as rows of text for a page."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from bench.schema.gate_report import AMBIGUOUS, BETTER, NOT_COMPARABLE, SAME, WORSE, Finding, GateReport, number_text
from reports.text.styled import shown

STYLES = {SAME: "", BETTER: "green", WORSE: "bold red", AMBIGUOUS: "yellow", NOT_COMPARABLE: "yellow"}


HEADS = ("Model", "Metric", "Base", "Head", "Change", "95 % interval", "Threshold", "Verdict")


def gate_table(report: GateReport) -> RenderableType:
    """Give one line a model and metric; below them a sentence for each that is worse, ambiguous or not comparable."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in HEADS:
        table.add_column(title, justify="left" if title in ("Model", "Metric", "Verdict") else "right", overflow="fold")
    for finding, cells in gate_rows(report):
        verdict = shown(finding.verdict, STYLES[finding.verdict])
        table.add_row(*(shown(cell) for cell in cells), verdict)
    parts: list[RenderableType] = [shown(f"\n{report.head} against {report.base}", "bold"), table]
    for finding in report.of(WORSE, AMBIGUOUS, NOT_COMPARABLE):
        parts.append(shown(f"{finding.verdict}: {finding.sentence}", STYLES[finding.verdict]))
    parts += [shown(note, "dim") for note in report.notes]
    parts.append(shown(f"gate: {report.outcome}", "bold green" if report.passed else "bold red"))
    return Group(*parts)


def gate_rows(report: GateReport) -> list[tuple[Finding, list[str]]]:
    """Give each finding with its cells under :data:`HEADS`, without the verdict.

    A finding without figures is left out where nothing changed, such as that a model runs on both sides.
    """
    return [
        (finding, _cells(finding))
        for finding in report.findings
        if finding.change is not None or finding.verdict != SAME
    ]


def _cells(finding: Finding) -> list[str]:
    figures = [number_text(finding.base), number_text(finding.head), change_text(finding), interval_text(finding)]
    return [finding.model, finding.metric, *figures, finding.threshold]


def change_text(finding: Finding) -> str:
    """Give the change with its sign, in % or in the metric's unit; "" without one."""
    if finding.change is None:
        return ""
    return f"{100 * finding.change:+.2f} %" if finding.relative else f"{finding.change:+.3g} {finding.unit}"


def interval_text(finding: Finding) -> str:
    """Give the 95 % interval as ``[-5.90, -4.60]``, in the unit of the change; "" without one."""
    if finding.low is None or finding.high is None:
        return ""
    scale = 100 if finding.relative else 1
    return f"[{scale * finding.low:+.2f}, {scale * finding.high:+.2f}]"
