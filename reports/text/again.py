"""Compare two runs of one study: whether their FPS differ by no more than the stated intervals allow.

An interval that is as wide as the figure itself allows everything, so a row inside of it says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.schema.row import same_measurement
from reports.table.comparison import Comparison, load
from reports.text.markdown import escape, grid

WANTED_SHARE = 0.95
"""The share of the rows that must be inside, which is what 95 % intervals promise."""

WIDEST = 0.1
"""The widest interval of a difference, as a share of the first FPS, within which two runs are said to agree. Within a
wider one a model may have become a tenth slower, and that is what this comparison is asked for."""

UNKNOWN = "not known well enough"

HEADS = ("Row", "FPS, first", "FPS, second", "Difference [%]", "95 % interval [%]", "Inside?")


@dataclass(frozen=True)
class Repeat:
    """One row measured in both runs.

    first, second: FPS at the model boundary, images/s
    difference: second minus first, as a share of the first
    interval: half the width of the 95 % interval of the difference, as a share of the first. The runs are independent,
        so it is the root of the summed squares of half the width of both intervals; None where a run has no interval
    """

    label: str
    first: float
    second: float
    difference: float
    interval: float | None

    @property
    def inside(self) -> bool | None:
        """Whether the runs agree; None where that is not known: without an interval, or within too wide a one."""
        if self.interval is None:
            return None
        if abs(self.difference) > self.interval:
            return False
        return True if self.interval <= WIDEST else None


@dataclass(frozen=True)
class Repeats:
    """The rows of both runs in the order of the first; ``left_out`` are (label, why) of those not compared."""

    rows: list[Repeat]
    left_out: list[tuple[str, str]]

    @property
    def share_inside(self) -> float:
        """Give the share of the compared rows that are known to be inside; 0 where there are none."""
        return self.count(True) / len(self.rows) if self.rows else 0.0

    def count(self, inside: bool | None) -> int:
        """Give the number of rows of which :attr:`Repeat.inside` is this."""
        return sum(row.inside is inside for row in self.rows)


def repeats(first: Comparison, second: Comparison) -> Repeats:
    """Match the rows of both runs by the names of their jobs' folders, which name all that is measured."""
    in_second = {row.job: number for number, row in enumerate(second.rows)}
    repeated, left_out = [], []
    for number, row in enumerate(first.rows):
        other = in_second.pop(row.job, None)
        if other is None:
            left_out.append((first.labels[number], "only in the first run"))
            continue
        fps, again = first.cell(number, "fps_model"), second.cell(other, "fps_model")
        if fps is None or again is None:
            run, place = (first, number) if fps is None else (second, other)
            which = "first" if fps is None else "second"
            reason = run.text(place, "reason")
            status = run.text(place, "status") + (f", {reason}" if reason else "")
            left_out.append((first.labels[number], f"not timed in the {which} run: {status}"))
            continue
        reaches = [_reach(first, number), _reach(second, other)]
        known = None if None in reaches else math.hypot(*(reach or 0.0 for reach in reaches)) / fps
        repeated.append(Repeat(first.labels[number], fps, again, (again - fps) / fps, known))
    left_out += [(second.labels[number], "only in the second run") for number in in_second.values()]
    return Repeats(repeated, left_out)


def answer(compared: Repeats) -> str:
    """Give the table in Markdown, what was left out of it, and the verdict."""
    lines = [
        (
            row.label,
            f"{row.first:.2f}",
            f"{row.second:.2f}",
            f"{100 * row.difference:+.2f}",
            "none stated" if row.interval is None else f"± {100 * row.interval:.2f}",
            UNKNOWN if row.inside is None else "yes" if row.inside else "NO",
        )
        for row in compared.rows
    ]
    parts = [grid(HEADS, lines)] if lines else []
    if compared.left_out:
        parts.append("\n".join(f"- left out: {escape(label)}: {escape(why)}" for label, why in compared.left_out))
    total = len(compared.rows)
    share = f" ({100 * compared.share_inside:.0f} %)" if total else ""
    verdict = (
        f"{compared.count(True)} of {total} rows{share} differ by no more than the intervals of the two runs allow; "
        f"{100 * WANTED_SHARE:.0f} % are wanted."
    )
    if unknown := compared.count(None):
        verdict += (
            f" Of {unknown} that is {UNKNOWN}: their intervals are absent or wider than ± {100 * WIDEST:.0f} %; time "
            f"them for longer with protocol.min_samples, protocol.max_seconds or protocol.rounds."
        )
    parts.append(verdict)
    return "\n\n".join(parts)


def answer_from(sources: Sequence[Path], again: Path) -> tuple[str, bool]:
    """Read both runs, give their :func:`answer`, and whether enough rows are inside.

    Raises:
        UserError: a folder does not exist, or no result in it can be read, or both hold the same measurements.
    """
    first, second = load(sources, Path.cwd()), load([again], Path.cwd())
    in_first = {row.job: row for row in first.rows}
    same = [row for row in second.rows if row.job in in_first and same_measurement(in_first[row.job], row)]
    if same:
        raise UserError(
            f"--again {again}: it holds the same measurements as the first run ({len(same)} of {len(second.rows)} "
            f"rows, as {same[0].job}); give a run that was measured anew"
        )
    compared = repeats(first, second)
    return answer(compared), compared.share_inside >= WANTED_SHARE


def _reach(comparison: Comparison, row: int) -> float | None:
    """Give the distance from FPS to the further end of its interval, images/s; None without an interval."""
    low, fps, high = (comparison.cell(row, name) for name in ("fps_model_low", "fps_model", "fps_model_high"))
    return None if low is None or high is None else max(high - fps, fps - low)
