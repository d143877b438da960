"""Compare the measured mask AP with the library's published figure and with the model config's own."""

from __future__ import annotations

from dataclasses import dataclass

from bench.schema.config import ShapesConfig
from bench.schema.row import Row
from bench.schema.settings import COCO_DETECTIONS
from reports.table.columns import COLUMNS

PUBLISHED_TOLERANCE = 0.2
"""How many points the measured mask AP of published weights may differ from the published one without a mark."""

MARK = "(!)"

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Check:
    """The outcome of one comparison.

    difference: measured minus wanted mask AP, points
    holds: whether it is within the tolerance
    text: both figures and the outcome as a sentence
    """

    difference: float
    holds: bool
    text: str


def published(row: Row) -> Check | None:
    """Compare with ``model.published``; give None unless both are of the same weights on the same, whole dataset."""
    figures, measured = row.result.published, _mask_ap(row)
    wanted = figures.get("mask_ap")
    if wanted is None or measured is None or not published_weights(row):
        return None
    if figures.get("dataset") != row.setting("dataset", "name") or not _whole(row) or _limit(row) != COCO_DETECTIONS:
        return None
    difference = measured - wanted
    holds = abs(difference) <= PUBLISHED_TOLERANCE + _ROUNDING
    words = f"by {'no ' if holds else ''}more than {PUBLISHED_TOLERANCE:g} points"
    text = f"measured {measured:.1f} - published {wanted:.1f} = {signed(difference)}: differs {words}"
    return Check(difference, holds, text)


def expected(row: Row) -> Check | str | None:
    """Compare with the ``model.expected`` of the row's dataset.

    Give the reason where nothing can be compared, and None where the config expects nothing of this dataset.
    """
    wanted = row.setting("model", "expected", default={}).get(row.setting("dataset", "name", default=""))
    if not isinstance(wanted, dict) or not isinstance(wanted.get("mask_ap"), int | float):
        return None
    target, tolerance = wanted["mask_ap"], wanted.get("tolerance", 1.0)
    head, measured = f"{target:.1f} ± {tolerance:g}", _mask_ap(row)
    if measured is None:
        return f"{head}, not measured"
    if row.result.finetune is not None:
        return f"{head} holds for the weights before this training, so it is not compared"
    if _limit(row) != COCO_DETECTIONS:
        return f"{head} holds for {COCO_DETECTIONS} detections an image, so it is not compared"
    if row.setting("input_size") is not None:
        return f"{head} holds for the model's own input size, so it is not compared"
    if not _whole(row):
        return f"{head} holds for the whole dataset, so it is not compared"
    difference = measured - target
    holds = abs(difference) <= tolerance + _ROUNDING
    text = f"{head}, measured {measured:.1f} ({signed(difference)}): {'holds' if holds else 'DOES NOT HOLD'}"
    return Check(difference, holds, text)


def warnings(row: Row) -> list[str]:
    """Say why mask AP is empty, and give a sentence for each check that does not hold."""
    against_published, against_expected = published(row), expected(row)
    accuracy = row.result.accuracy
    lines = []
    if accuracy and accuracy.figures_absent and not row.random_weights and _mask_ap(row) is None:
        lines.append(f"mask AP is empty: {accuracy.figures_absent}")
    if against_published and not against_published.holds:
        lines.append(f"mask AP and the published one: {against_published.text}")
    if isinstance(against_expected, Check) and not against_expected.holds:
        lines.append(f"expected mask AP {against_expected.text}")
    return lines


def signed(points: float, decimals: int = 1) -> str:
    """Give the points with their sign, ``+1.2`` or ``-0.3``; a value that rounds to zero gets a plus."""
    text = f"{points:+.{decimals}f}"
    return text if float(text) else f"{0.0:+.{decimals}f}"


def _limit(row: Row) -> int:
    return row.result.accuracy.max_detections if row.result.accuracy else COCO_DETECTIONS


def _mask_ap(row: Row) -> float | None:
    value = COLUMNS["mask_ap"].value(row)
    return None if value is None else float(value)


def published_weights(row: Row) -> bool:
    """Say whether the weights are the library's own file, without any training since."""
    digest = row.result.model.weights_sha256 if row.result.model else None
    zoo = row.setting("model", "zoo", "sha256")
    same_file = bool(digest and zoo and str(digest).startswith(str(zoo)))
    return row.result.finetune is None and (row.weights == "zoo" or same_file)


def _whole(row: Row) -> bool:
    """Say whether every image of the dataset was evaluated.

    A generated dataset counts as whole only with the default split, count and seed: others give other images.
    """
    accuracy, shapes = row.result.accuracy, row.setting("dataset", "shapes")
    if accuracy is None or accuracy.images_evaluated != accuracy.images_in_dataset:
        return False
    usual = ShapesConfig()
    return not isinstance(shapes, dict) or all(
        shapes.get(key, getattr(usual, key)) == getattr(usual, key) for key in ("split", "count", "seed")
    )
