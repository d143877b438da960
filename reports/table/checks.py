"""Measured mask AP held against what it ought to be: the library's published figure, and the model config's own."""

from __future__ import annotations

from dataclasses import dataclass

from bench.schema.config import ShapesConfig
from bench.schema.row import Row
from reports.table.columns import COLUMNS

PUBLISHED_TOLERANCE = 0.2
"""Points by which a measurement of published weights may differ from the published mask AP without a mark."""

MARK = "(!)"

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Check:
    """``difference``: measured minus wanted, points; ``text`` says it in words."""

    difference: float
    holds: bool
    text: str


def published(row: Row) -> Check | None:
    """Against ``model.published``; None where the two are not of the same weights on the same, whole dataset."""
    figures, measured = row.result.published, _mask_ap(row)
    wanted = figures.get("mask_ap")
    if wanted is None or measured is None or not _published_weights(row):
        return None
    if figures.get("dataset") != row.setting("dataset", "name") or not _whole(row):
        return None
    difference = measured - wanted
    holds = abs(difference) <= PUBLISHED_TOLERANCE + _ROUNDING
    words = f"by {'no ' if holds else ''}more than {PUBLISHED_TOLERANCE:g} points"
    text = f"measured {measured:.1f} - published {wanted:.1f} = {signed(difference)}: differs {words}"
    return Check(difference, holds, text)


def expected(row: Row) -> Check | str | None:
    """Against ``model.expected`` of the row's dataset; words where it cannot be checked, None where there is none."""
    wanted = row.setting("model", "expected", default={}).get(row.setting("dataset", "name", default=""))
    if not isinstance(wanted, dict) or not isinstance(wanted.get("mask_ap"), int | float):
        return None
    target, tolerance = wanted["mask_ap"], wanted.get("tolerance", 1.0)
    head, measured = f"{target:.1f} ± {tolerance:g}", _mask_ap(row)
    if measured is None:
        return f"{head}, not measured"
    if row.result.finetune is not None:
        return f"{head} holds for the weights before this training, so it is not compared"
    if not _whole(row):
        return f"{head} holds for the whole dataset, so it is not compared"
    difference = measured - target
    holds = abs(difference) <= tolerance + _ROUNDING
    text = f"{head}, measured {measured:.1f} ({signed(difference)}): {'holds' if holds else 'DOES NOT HOLD'}"
    return Check(difference, holds, text)


def warnings(row: Row) -> list[str]:
    """The checks that failed, one sentence each."""
    against_published, against_expected = published(row), expected(row)
    lines = []
    if against_published and not against_published.holds:
        lines.append(f"mask AP and the published one: {against_published.text}")
    if isinstance(against_expected, Check) and not against_expected.holds:
        lines.append(f"expected mask AP {against_expected.text}")
    return lines


def signed(points: float, decimals: int = 1) -> str:
    """``+1.2`` or ``-0.3``; what rounds to nothing has no minus."""
    text = f"{points:+.{decimals}f}"
    return text if float(text) else f"{0.0:+.{decimals}f}"


def _mask_ap(row: Row) -> float | None:
    value = COLUMNS["mask_ap"].value(row)
    return None if value is None else float(value)


def _published_weights(row: Row) -> bool:
    """The library's own file, and nothing trained since."""
    digest = row.result.model.weights_sha256 if row.result.model else None
    zoo = row.setting("model", "zoo", "sha256")
    same_file = bool(digest and zoo and str(digest).startswith(str(zoo)))
    return row.result.finetune is None and (row.weights == "zoo" or same_file)


def _whole(row: Row) -> bool:
    """Every image of the dataset as its config defines it; a generated one of other images is another dataset."""
    accuracy, shapes = row.result.accuracy, row.setting("dataset", "shapes")
    if accuracy is None or accuracy.images_evaluated != accuracy.images_in_dataset:
        return False
    usual = ShapesConfig()
    return not isinstance(shapes, dict) or all(
        shapes.get(key, getattr(usual, key)) == getattr(usual, key) for key in ("split", "count", "seed")
    )
