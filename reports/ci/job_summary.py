"""Write a gate's findings as the summary of a GitHub job: the outcome, a table of changes, and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.schema.gate_report import AMBIGUOUS, BETTER, NOT_COMPARABLE, SAME, WORSE, Finding, GateReport
from reports.ci.step_summary import LIMIT_BYTES, append
from reports.text.gate_table import change_text, estimate_notes, interval_text, side_texts
from reports.text.markdown import escape, grid, grid_of_markdown

MARKS = {BETTER: "+", WORSE: "-", AMBIGUOUS: "~", SAME: "=", NOT_COMPARABLE: "!"}

LEGEND = (
    "`+` better, `-` worse, `~` ambiguous (neither shown to be worse nor ruled out), `=` same, `!` not comparable. "
    "Each cell is head against base, in brackets the 95 % interval of the change."
)

_FOR_THE_LIMIT = "GitHub takes summaries up to 1 MiB, so this one leaves out"
_VALUES = ("Model", "Metric", "Base", "Head", "Unit", "Change", "95 % interval", "p", "Threshold", "Verdict")


def job_summary(report: GateReport, limit: int = LIMIT_BYTES) -> str:
    """Give GitHub Markdown of at most ``limit`` bytes.

    Where it would be longer, the values of unchanged metrics are left out first, then all values, then lines from the
    end; the last line says so.
    """
    head = [_outcome(report), _table(report), LEGEND, *_sentences(report)]
    changed = [finding for finding in report.findings if finding.verdict != SAME]
    for parts in (
        [*head, _details(report.findings)],
        [*head, _details(changed), f"{_FOR_THE_LIMIT} the values of what is the same."],
        [*head, f"{_FOR_THE_LIMIT} the values of base and head."],
    ):
        text = "\n\n".join(part for part in parts if part) + "\n"
        if len(text.encode()) <= limit:
            return text
    return _cut(text, limit, f"\n\n{_FOR_THE_LIMIT} the values of base and head, and the rest of the lines.\n")


def append_to_github_summary(report: GateReport) -> Path | None:
    """Add the summary to the file that GitHub shows (``$GITHUB_STEP_SUMMARY``); None outside of GitHub's CI.

    What the step has already written to the file counts towards the limit.
    """
    return append(lambda limit: job_summary(report, limit))


def _outcome(report: GateReport) -> str:
    mark = "✅" if report.passed else "❌"
    ambiguous = "fails" if report.on_ambiguous == "fail" else "passes"
    rules = f"alpha {report.alpha:g} over all tests of the gate", f"what is ambiguous {ambiguous}"
    conditions = (f"{report.head} against {report.base}", *report.notes, *rules)
    return f"## {mark} {escape(report.outcome)}\n\n{escape('; '.join(conditions))}."


def _table(report: GateReport) -> str:
    """Give a table with one row a model and one column a metric, in the order in which they first come."""
    cells = {(finding.model, finding.metric): _cell(finding) for finding in report.findings}
    models = list(dict.fromkeys(model for model, _ in cells))
    metrics = list(dict.fromkeys(metric for _, metric in cells))
    if not cells:
        return ""
    titles = ["Model", *(escape(metric) for metric in metrics)]
    return grid_of_markdown(
        titles, [[escape(model), *(cells.get((model, metric), "") for metric in metrics)] for model in models]
    )


def _cell(finding: Finding) -> str:
    # GitHub wraps a cell at any space, and would tear numbers from their marks and units.
    change, interval = (escape(text).replace(" ", "&nbsp;") for text in (change_text(finding), interval_text(finding)))
    if finding.verdict == WORSE and change:
        change = f"**{change}**"
    marked = f"`{MARKS[finding.verdict]}`" + (f"&nbsp;{change}" if change else "")
    return f"{marked}<br>{interval}" if interval else marked


def _sentences(report: GateReport) -> list[str]:
    parts = []
    for verdict in (WORSE, AMBIGUOUS, NOT_COMPARABLE):
        if findings := report.of(verdict):
            lines = "\n".join(f"- {escape(finding.sentence)}" for finding in findings)
            parts.append(f"### {verdict.capitalize()}\n\n{lines}")
    return parts


def _details(findings: Sequence[Finding]) -> str:
    """Give a table of base and head that GitHub hides until it is clicked."""
    rows = [_values(finding) for finding in findings if finding.base is not None or finding.head is not None]
    if not rows:
        return ""
    notes = "".join(f"\n\n{escape(note)}." for note in estimate_notes(findings))
    return f"<details>\n<summary>Values of base and head</summary>\n\n{grid(_VALUES, rows)}{notes}\n\n</details>"


def _values(finding: Finding) -> list[str]:
    return [
        finding.model,
        finding.metric,
        *side_texts(finding),
        finding.unit,
        change_text(finding),
        interval_text(finding),
        "" if finding.p is None else f"{finding.p:.2g}",
        finding.threshold,
        finding.verdict,
    ]


def _cut(text: str, limit: int, note: str) -> str:
    """Give as many whole lines as have room beside the note, and the note; "" where the note alone is too long."""
    room = limit - len(note.encode())
    if room < 0:
        return ""
    kept = text.encode()[:room].decode(errors="ignore")
    return kept[: kept.rfind("\n") + 1].rstrip("\n") + note
