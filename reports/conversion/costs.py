"""The table "AP lost, FPS gained": what each conversion costs, and what it brings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.schema.row import Row
from reports.conversion.groups import Conversion, conversions
from reports.table.claims import Estimate, speed_ratio
from reports.table.columns import COLUMNS
from reports.table.comparison import Comparison
from reports.table.differences import between

TITLE = "AP lost, FPS gained"

HEADS = ("Row", "Mask AP", "AP lost", "FPS model", "FPS gained", "Unlike the base")

MEANING = (
    "Each row of a runtime against its base, the row in torch of the weights that its file was exported from. AP lost: "
    "mask AP of the base minus that of the row, in points ± half the width of the 95 % interval (paired bootstrap over "
    "the same draws of images); below 0 is gained. FPS gained: FPS of the row over that of the base, with its 95 % "
    "interval. Not told apart: the interval contains no loss or no gain, and a smaller one may be there all the same. "
    "Each row is tested on its own"
)
"""What the table says, without a full stop."""

NOT_TOLD_APART = "not told apart"

OTHER_IMAGES_TIMED = "not compared: timed on other images"


@dataclass(frozen=True)
class Line:
    """One line of the table: a base, or a conversion below it.

    cells: texts in the order of :data:`HEADS`
    row: its number in the comparison
    lost, gained: -1 where the interval says that the row is worse than its base, 1 better, 0 neither
    """

    row: int
    is_base: bool
    cells: tuple[str, ...]
    lost: int = 0
    gained: int = 0


def cost_lines(comparison: Comparison) -> list[Line]:
    """Give the lines of the table, each base before its conversions; [] where no row has a base."""
    return [line for base, pairs in conversions(comparison).items() for line in _group(comparison, base, pairs)]


def _group(comparison: Comparison, base: int, pairs: list[Conversion]) -> Iterator[Line]:
    config = comparison.rows[base].result.config
    compiled = config.get("compile", "none")
    words = f"base: torch, {config.get('precision')}" + ("" if compiled == "none" else f", compile {compiled}")
    yield Line(base, True, _cells(comparison, base, "", "", words))
    for pair in pairs:
        yield _line(comparison, pair)


def _line(comparison: Comparison, pair: Conversion) -> Line:
    if pair.apart:
        why = f"not compared, since the base has another {' and another '.join(pair.apart)}"
        return Line(pair.row, False, _cells(comparison, pair.row, "", "", "; ".join((why, *pair.unlike))))
    row, base = (comparison.rows[number] for number in (pair.row, pair.base))
    lost, gained = _lost(row, base), _gained(pair, row, base)
    cells = _cells(
        comparison,
        pair.row,
        lost_text(lost) if lost else _lost_without_interval(row, base),
        gained_text(gained) if gained else _gained_without_interval(pair, row, base),
        "; ".join(pair.unlike),
    )
    return Line(pair.row, False, cells, -_side(lost, 0), _side(gained, 1))


def _cells(comparison: Comparison, row: int, lost: str, gained: str, unlike: str) -> tuple[str, ...]:
    ap, fps = comparison.text(row, "mask_ap", more=1), comparison.text(row, "fps_model")
    return comparison.marked_label(row), ap, lost, fps, gained, unlike


def lost_text(lost: Estimate) -> str:
    """Say a loss of AP in points: ``1.2 ± 0.4``, or ``0.1 ± 0.3: not told apart``."""
    width = (lost.high - lost.low) / 2
    decimals = 1 if max(abs(lost.value), width) >= 0.1 else 2
    value = round(lost.value, decimals) + 0.0  # no -0.0
    return f"{value:.{decimals}f} ± {width:.{decimals}f}{_apart(lost, 0)}"


def gained_text(gained: Estimate) -> str:
    """Say a ratio of FPS: ``1.42 times [1.38, 1.46]``."""
    return f"{gained.value:.2f} times [{gained.low:.2f}, {gained.high:.2f}]{_apart(gained, 1)}"


def _apart(estimate: Estimate, equal: float) -> str:
    return "" if _side(estimate, equal) else f": {NOT_TOLD_APART}"


def _side(estimate: Estimate | None, equal: float) -> int:
    """Give 1 where the whole interval lies above ``equal``, -1 where it lies below, else 0."""
    if estimate is None or estimate.low <= equal <= estimate.high:
        return 0
    return 1 if estimate.low > equal else -1


def _lost(row: Row, base: Row) -> Estimate | None:
    difference = between(base, row, "mask_ap")
    return Estimate(difference.difference, difference.low, difference.high) if difference else None


def _lost_without_interval(row: Row, base: Row) -> str:
    """Say a loss of rows without replicates of the bootstrap, or why there is none; "" where an AP is missing."""
    mine, theirs = (COLUMNS["mask_ap"].value(each) for each in (row, base))
    if mine is None or theirs is None:
        return ""
    replicates = [each.result.accuracy.bootstrap for each in (row, base) if each.result.accuracy]
    if all(each is not None and each.mask_ap for each in replicates):
        return "not compared: other images or other draws of them"
    return f"{theirs - mine:.2f} (without an interval)"


def _gained(pair: Conversion, row: Row, base: Row) -> Estimate | None:
    return None if pair.other_images_timed else speed_ratio(row, base, "fps_model")


def _gained_without_interval(pair: Conversion, row: Row, base: Row) -> str:
    if pair.other_images_timed:
        return OTHER_IMAGES_TIMED
    mine, theirs = (COLUMNS["fps_model"].value(each) for each in (row, base))
    return f"{mine / theirs:.2f} times (without an interval)" if mine and theirs else ""
