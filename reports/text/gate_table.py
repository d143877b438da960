"""Give the findings of a gate as a table for a terminal, and as rows of text for a page."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.table import Table

from bench.schema.gate_report import AMBIGUOUS, BETTER, NOT_COMPARABLE, SAME, WORSE, Finding, GateReport, number_text
from bench.schema.metrics import METRICS
from reports.text.styled import shown

STYLES = {SAME: "", BETTER: "green", WORSE: "bold red", AMBIGUOUS: "yellow", NOT_COMPARABLE: "yellow"}


HEADS = ("Model", "Metric", "Base", "Head", "Change", "95 % interval", "Threshold", "Verdict")

_LEAST_WIDTHS = {"Model": 12, "Metric": 12, "Verdict": 10}
"""The columns of text, which fold in a narrow terminal, and the least width of each."""

_GAP = 2


def gate_table(report: GateReport) -> RenderableType:
    """Give one line a model and metric; below them a sentence for each that is worse, ambiguous or not comparable.

    In a terminal that is too narrow for a table, each figure has a line of its own.
    """
    parts: list[RenderableType] = [shown(f"\n{report.head} against {report.base}", "bold"), _Fitting(report)]
    for finding in report.of(WORSE, AMBIGUOUS, NOT_COMPARABLE):
        parts.append(shown(f"{finding.verdict}: {finding.sentence}", STYLES[finding.verdict]))
    parts += [shown(note, "dim") for note in (*report.notes, *estimate_notes(report.findings))]
    parts.append(shown(f"gate: {report.outcome}", "bold green" if report.passed else "bold red"))
    return Group(*parts)


class _Fitting:
    """The findings as a table with every figure in one piece; one below the other where no such table fits."""

    def __init__(self, report: GateReport) -> None:
        self._rows = gate_rows(report)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [
            _LEAST_WIDTHS.get(head)
            or max(cell_len(text) for text in (head, *(cells[place] for _, cells in self._rows)))
            for place, head in enumerate(HEADS)
        ]
        if sum(widths) + _GAP * (len(HEADS) - 1) <= options.max_width:
            yield self._table(widths)
            return
        for finding, [model, metric, *figures] in self._rows:
            yield shown(f"{model} · {metric}: {finding.verdict}", STYLES[finding.verdict])
            yield from (shown(f"  {head}: {text}") for head, text in zip(HEADS[2:], figures, strict=False) if text)

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        for head, width in zip(HEADS, widths, strict=True):
            text = head in _LEAST_WIDTHS
            justify: JustifyMethod = "left" if text else "right"
            table.add_column(head, justify=justify, overflow="fold", no_wrap=not text, min_width=width)
        for finding, cells in self._rows:
            table.add_row(*(shown(cell) for cell in cells), shown(finding.verdict, STYLES[finding.verdict]))
        return table


def gate_rows(report: GateReport) -> list[tuple[Finding, list[str]]]:
    """Give each finding with its cells under :data:`HEADS`, without the verdict.

    A finding without figures is left out where nothing changed, such as that a model runs on both sides.
    """
    return [
        (finding, _cells(finding))
        for finding in report.findings
        if finding.change is not None or finding.verdict != SAME
    ]


def estimate_notes(findings: Sequence[Finding]) -> list[str]:
    """Say which figures of a row are of one estimate and which are not, where a speed was compared."""
    speeds = [finding for finding in findings if _over_rounds(finding) and finding.change is not None]
    notes = []
    if speeds:
        notes.append(
            "Base and Head of a speed are the medians of the rounds of each side; Change, interval and verdict are of "
            "the test (rounds against rounds, or each batch against itself), so that they need not be their ratio"
        )
    if any(_is_contrary(finding) for finding in speeds):
        notes.append("in brackets: medians that point the other way than the change, by which the verdict goes")
    return notes


def _over_rounds(finding: Finding) -> bool:
    figure = METRICS.get(finding.metric)
    return figure is not None and figure.over_rounds


def _is_contrary(finding: Finding) -> bool:
    """Tell whether the medians of a speed point the other way than its change."""
    if finding.change is None or finding.base is None or finding.head is None:
        return False
    return _over_rounds(finding) and finding.change * (finding.head - finding.base) < 0


def _cells(finding: Finding) -> list[str]:
    return [
        finding.model,
        finding.metric,
        *side_texts(finding),
        change_text(finding),
        interval_text(finding),
        finding.threshold,
    ]


def side_texts(finding: Finding) -> list[str]:
    """Give the figures of base and head, in brackets where they are medians that contradict the change."""
    texts = [number_text(finding.base), number_text(finding.head)]
    return [f"({text})" for text in texts] if _is_contrary(finding) else texts


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
