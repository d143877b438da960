"""What a reader must beware of, counted: rows that failed, marks, notes of the workers, figures that do not agree."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from reports.answers.answer import Answer, Part, counted, joined
from reports.table.checks import warnings
from reports.table.comparison import Comparison

_IN_USE = "was in use before this job began"
"""Stands in the notes of a row whose GPU others used (:mod:`bench.device.gpu_memory`)."""

_MEANINGS = {
    "host-bound": "{are} host-bound, so FPS is the speed of Python and of the processor",
    "host-bound?": "{are} perhaps host-bound, since the GPU drew little power and its busy time was not measured",
    "neighbours": "{were} timed while other slots worked",
    "disturbed": "{were} timed while other programs took the cores",
    "throttled": "{were} timed while power or heat throttled the GPU",
    "few samples": "{were} timed in fewer batches than asked for",
    "recompiled": "{were} compiled anew while timed",
    "contradiction": "{were} faster end to end than the model boundary inside it, an error of measurement",
    "random weights": "{have} random weights and no mask AP",
    "other input size": "{have} another input size than those that they are compared with",
}
"""What each mark says of rows; of another one its name is told."""


def beware(comparison: Comparison) -> list[Answer]:
    """Give the sentence; none where there is nothing to beware of."""
    pieces = [*_ended_badly(comparison), *_marked(comparison), *_noted(comparison)]
    if not pieces:
        return []
    return [Answer("Beware", (*joined("; ", [[piece] for piece in pieces]), Part(".")))]


def searched(words: str) -> str:
    """Give the address within the page at which its table shows only rows that have these words."""
    return f"#filter={quote(words, safe='')}"


def _ended_badly(comparison: Comparison) -> list[Part]:
    failed, skipped = comparison.failed(), comparison.with_status("skipped")
    parts = [Part(f"{_rows(comparison, failed)} failed", "#not-finished")] if failed else []
    return parts + ([Part(f"{_rows(comparison, skipped)} {_were(skipped)} skipped", "#skipped")] if skipped else [])


def _marked(comparison: Comparison) -> list[Part]:
    """Count the rows that have each mark, in the order in which the marks come first."""
    counts: dict[str, list[int]] = {name: [] for name in _MEANINGS}
    for row in comparison.with_status("ok"):
        for mark in comparison.marks_of(row):
            counts.setdefault(mark.name, []).append(row)
    well = len(comparison.with_status("ok"))
    return [Part(_sentence(name, rows, well), searched(name)) for name, rows in counts.items() if rows]


def _sentence(name: str, rows: Sequence[int], well: int) -> str:
    """Say what a mark means of so many rows; ``well`` is the number of all that ended well."""
    one = len(rows) == 1
    who = "all rows" if len(rows) == well > 1 else counted(len(rows), "row")
    verbs = {"are": "is", "were": "was", "have": "has"} if one else {verb: verb for verb in ("are", "were", "have")}
    return f"{who} {_MEANINGS.get(name, '{are} marked ' + name).format(**verbs)}"


def _noted(comparison: Comparison) -> list[Part]:
    rows = comparison.with_status("ok")
    used = [row for row in rows if any(_IN_USE in note for note in comparison.rows[row].result.notes)]
    wrong = [row for row in rows if warnings(comparison.rows[row])]
    parts = []
    if used:
        parts.append(Part(f"{_rows(comparison, used)} {_were(used)} measured on a GPU that others used", "#notes"))
    if wrong:
        have = "has" if len(wrong) == 1 else "have"
        parts.append(Part(f"{_rows(comparison, wrong)} {have} a mask AP that is not as it should be", "#warnings"))
    return parts


def _rows(comparison: Comparison, rows: Sequence[int]) -> str:
    """Count rows; of one alone the label says which it is."""
    return f"1 row ({comparison.labels[rows[0]]})" if len(rows) == 1 else f"{len(rows):,} rows"


def _were(rows: Sequence[int]) -> str:
    return "was" if len(rows) == 1 else "were"
