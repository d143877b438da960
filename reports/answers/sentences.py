"""The first answers of a report: the most accurate row, the fastest, a trade-off, and what to beware of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reports.answers.answer import Answer, Named, Part, joined
from reports.answers.beware import beware
from reports.answers.contexts import MOST_CONTEXTS, Context, of_accuracy, of_speed
from reports.table.best.cells import overlap
from reports.table.columns import COLUMNS, INTERVALS
from reports.table.comparison import Comparison
from reports.table.differences import ALPHA, p_against

SHARE_OF_FASTEST = 0.5
"""The trade-off is the most accurate row that has at least this share of the fastest one's FPS."""

RULE = "the most accurate of those at least half as fast as the fastest"


def answers(comparison: Comparison) -> list[Answer]:
    """Give at most four sentences, each of what was measured only; links lead to rows that ``comparison`` shows.

    Where it is a part of more rows (:mod:`reports.cut`), the sentences are of all of them.
    """
    whole, named = comparison.whole or comparison, Named(comparison)
    well, accurate, fast = whole.with_status("ok"), of_accuracy(whole), of_speed(whole)
    found: list[Answer] = []
    if len(well) == 1:
        found += [Answer("Only row", (*_row(whole, named, well[0], ("mask_ap", "fps_model")), Part(".")))]
    else:
        found += _of_contexts("Most accurate", accurate, lambda context: _most_accurate(whole, named, context))
        found += _of_contexts("Fastest", fast, lambda context: _fastest(whole, named, context))
        found += _of_contexts("Trade-off", fast, lambda context: _trade_off(whole, named, context))
    return [*found, *beware(whole)]


def _of_contexts(title: str, contexts: Sequence[Context], of: Callable[[Context], list[Part]]) -> list[Answer]:
    """Give one sentence that speaks of each context, the largest first; none where there is nothing to say."""
    pieces = [
        [Part(f"{context.words}: "), *parts] if context.words else parts
        for context in contexts[:MOST_CONTEXTS]
        if (parts := of(context))
    ]
    parts = joined("; ", pieces)
    if pieces and len(contexts) > MOST_CONTEXTS:
        parts += [Part("; and "), Part(f"{len(contexts) - MOST_CONTEXTS} more groups that are not compared", "#table")]
    return [Answer(title, (*parts, Part(".")))] if parts else []


def _most_accurate(comparison: Comparison, named: Named, context: Context) -> list[Part]:
    rows = sorted(context.rows, key=lambda row: -comparison.cell(row, "mask_ap"))
    tied, tested = _not_told_apart(comparison, rows)
    parts = _row(comparison, named, rows[0], ("mask_ap",))
    if tied:
        words = ", not distinguishable from " if tested else ", and it was not tested whether better than "
        parts += [Part(words), *named.rows(comparison, tied)]
    return parts


def _not_told_apart(comparison: Comparison, rows: Sequence[int]) -> tuple[list[int], bool]:
    """Give the rows that may be as accurate as the first one, and whether each of them was tested against it.

    The test is the paired bootstrap of :mod:`reports.table.differences`, its p times the number of rows tested or of
    the table's own pairs, whichever is more; so no row that the table marks is missing. Rows whose intervals lie apart
    are not tested. Without draws in common, or without any, intervals that overlap, or the same figure, decide.
    """
    best, others = rows[0], rows[1:]
    pairs = max([len(rows), *(len(group.pairs["mask_ap"]) for group in comparison.groups if best in group.rows)])
    ends = {row: [comparison.cell(row, end) for end in INTERVALS["mask_ap"]] for row in rows}
    close = [row for row in others if overlap(ends[best], ends[row])]
    found = p_against(comparison.rows[best], [comparison.rows[row] for row in close], "mask_ap")
    p_of = dict(zip(close, found, strict=True))
    grouped = {row for group in comparison.groups if best in group.rows for row in group.rows}
    tied, tested = [], True
    for row in others:
        # Where nothing is known of how far two may lie apart, only what is equal is named.
        equal = None in (*ends[best], *ends[row]) and comparison.cell(row, "mask_ap") == comparison.cell(
            best, "mask_ap"
        )
        p = p_of.get(row)
        if (row in comparison.tied and row in grouped) or equal or (row in p_of and (p is None or p * pairs >= ALPHA)):
            tied.append(row)
            tested = tested and (p is not None or row in grouped)
    return tied, tested


def _fastest(comparison: Comparison, named: Named, context: Context) -> list[Part]:
    rows = sorted(context.rows, key=lambda row: -comparison.cell(row, "fps_model"))
    ends = {row: [comparison.cell(row, end) for end in INTERVALS["fps_model"]] for row in rows}
    close = [row for row in rows[1:] if overlap(ends[row], ends[rows[0]])]
    parts = _row(comparison, named, rows[0], ("fps_model",))
    return [*parts, Part(", not distinguishable from "), *named.rows(comparison, close)] if close else parts


def _trade_off(comparison: Comparison, named: Named, context: Context) -> list[Part]:
    accurate = [row for row in context.rows if comparison.cell(row, "mask_ap") is not None]
    fps = {row: comparison.cell(row, "fps_model") for row in context.rows}
    least = SHARE_OF_FASTEST * max(fps.values(), default=0.0)
    quick = [row for row in accurate if fps[row] >= least]
    if len(accurate) < 2 or not quick:
        return []
    best = max(quick, key=lambda row: (comparison.cell(row, "mask_ap"), fps[row]))
    return [*_row(comparison, named, best, ("mask_ap", "fps_model")), Part(f": {RULE}")]


def _row(comparison: Comparison, named: Named, row: int, columns: Sequence[str]) -> list[Part]:
    """Name a row with those of its figures that were measured, each with its interval."""
    texts = []
    for name in columns:
        if text := comparison.text(row, name):
            title = comparison.with_limit("mask AP") if name == "mask_ap" else "FPS"
            unit, interval = COLUMNS[name].unit, comparison.interval(row, name)
            said = f"{title} {text}" if unit == "points" else f"{text} {title}"
            texts.append(f"{said} {interval}" if interval else said)
    return [named.row(comparison, row), *([Part(f" ({', '.join(texts)})")] if texts else [])]
