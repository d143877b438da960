"""Give the figures of the accuracy pass that the main table leaves out: by size and class, recall, errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.schema.parts.accuracy import TIDE_ERRORS, AccuracyResult
from reports.table.checks import signed
from reports.table.comparison import Comparison

ERROR_MEANINGS = {
    "classification": "the right place, the wrong class",
    "localization": "the right class, an IoU of 0.1 to 0.5",
    "both": "the wrong class and an IoU of 0.1 to 0.5",
    "duplicate": "an object that a higher-scoring detection has",
    "background": "nothing is there",
    "missed": "an object that no detection has",
}
"""The meaning of each of TIDE's six types of error (Bolya et al. 2020, section 2.2)."""


@dataclass(frozen=True)
class Heading:
    """A column of the table of figures: its text, what it means, and its value in points.

    limited: whether the limit of detections is part of its meaning
    """

    title: str
    meaning: str
    value: Callable[[AccuracyResult], float | None]
    limited: bool = True


def rows_with_figures(comparison: Comparison) -> list[int]:
    """Give the numbers of the rows whose accuracy was measured and is not of random weights."""
    return [row for row in range(len(comparison.rows)) if accuracy_of(comparison, row) is not None]


def accuracy_of(comparison: Comparison, number: int) -> AccuracyResult | None:
    """Give the accuracy of a row; None where it has no figures or its weights are random."""
    row = comparison.rows[number]
    accuracy = row.result.accuracy
    return accuracy if accuracy and accuracy.figures and not row.random_weights else None


def figures_table(
    comparison: Comparison, rows: Sequence[int], headings: Sequence[Heading]
) -> tuple[list[Heading], list[list[str]]]:
    """Give the headings under which any row has a value, and for each row its texts under them, in points."""
    accuracies = [accuracy for row in rows if (accuracy := accuracy_of(comparison, row))]
    shown = [head for head in headings if any(head.value(accuracy) is not None for accuracy in accuracies)]
    named = [replace(head, title=comparison.with_limit(head.title)) if head.limited else head for head in shown]
    return named, [[_text(head, accuracy) for head in shown] for accuracy in accuracies]


def per_class_table(comparison: Comparison, rows: Sequence[int]) -> list[tuple[str, list[str], int | None]]:
    """Give for each class its name, the AP of each row in points, and the place of the highest AP among the rows.

    A text is "" where COCO defines no AP; the place is None where all rows have the same. The class with the lowest
    mean AP comes first.
    """
    accuracies = [accuracy for row in rows if (accuracy := accuracy_of(comparison, row))]
    names = list(dict.fromkeys(name for accuracy in accuracies for name in accuracy.per_class or {}))
    table = []
    for name in names:
        values = [(accuracy.per_class or {}).get(name) for accuracy in accuracies]
        known = [value for value in values if value is not None]
        mean = sum(known) / len(known) if known else float("inf")
        best = values.index(max(known)) if len(set(known)) > 1 else None
        table.append((mean, name, ["" if value is None else f"{100 * value:.1f}" for value in values], best))
    return [(name, texts, best) for _, name, texts, best in sorted(table, key=lambda line: line[0])]


def error_points(accuracy: AccuracyResult) -> dict[str, float]:
    """Give the AP50 in points that each type of error costs; types that were not measured are left out."""
    errors = accuracy.errors or {}
    return {name: 100 * errors[name] for name in TIDE_ERRORS if errors.get(name) is not None}


def _figure(name: str) -> Callable[[AccuracyResult], float | None]:
    return lambda accuracy: _points((accuracy.figures or {}).get(name))


def _boundary(name: str) -> Callable[[AccuracyResult], float | None]:
    return lambda accuracy: _points((accuracy.boundary_figures or {}).get(name))


def _overlap(name: str) -> Callable[[AccuracyResult], float | None]:
    return lambda accuracy: _points((accuracy.overlap_mask_ap or {}).get(name))


def _overlap_difference(accuracy: AccuracyResult) -> float | None:
    keep, highest = (_overlap(name)(accuracy) for name in ("keep", "highest_score"))
    return None if keep is None or highest is None else highest - keep


def _points(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _text(head: Heading, accuracy: AccuracyResult) -> str:
    value = head.value(accuracy)
    if value is None:
        return ""
    return signed(value, 2) if head.value is _overlap_difference else f"{value:.1f}"


COCO_HEADINGS = (
    Heading("AP", "mask AP, mean over IoU 0.50:0.95", _figure("mask_ap")),
    Heading("AP50", "mask AP at IoU 0.50", _figure("mask_ap50")),
    Heading("AP75", "mask AP at IoU 0.75", _figure("mask_ap75")),
    Heading("AP small", "mask AP of objects under 32 x 32 pixels", _figure("mask_ap_small")),
    Heading("AP medium", "mask AP of objects of 32 x 32 to 96 x 96 pixels", _figure("mask_ap_medium")),
    Heading("AP large", "mask AP of objects over 96 x 96 pixels", _figure("mask_ap_large")),
    Heading("AP rare", "mask AP of LVIS's categories in 1 to 10 training images", _figure("mask_ap_rare")),
    Heading("AP common", "mask AP of LVIS's categories in 11 to 100 training images", _figure("mask_ap_common")),
    Heading("AP frequent", "mask AP of LVIS's categories in more training images", _figure("mask_ap_frequent")),
    Heading("AR", "mask recall at LVIS's limit of detections", _figure("mask_ar")),
    Heading("AR 1", "mask recall with 1 detection an image", _figure("mask_ar_1"), limited=False),
    Heading("AR 10", "mask recall with 10 detections an image", _figure("mask_ar_10"), limited=False),
    Heading("AR 100", "mask recall with 100 detections an image", _figure("mask_ar_100"), limited=False),
    Heading("AR small", "mask recall of objects under 32 x 32 pixels", _figure("mask_ar_small")),
    Heading("AR medium", "mask recall of objects of 32 x 32 to 96 x 96 pixels", _figure("mask_ar_medium")),
    Heading("AR large", "mask recall of objects over 96 x 96 pixels", _figure("mask_ar_large")),
)

OTHER_HEADINGS = (
    Heading("Boundary AP", "AP by the IoU of boundaries (Cheng et al. 2021)", _boundary("boundary_ap")),
    Heading("Boundary AP50", "Boundary AP at IoU 0.50", _boundary("boundary_ap50")),
    Heading("Boundary AP75", "Boundary AP at IoU 0.75", _boundary("boundary_ap75")),
    Heading("Boundary AP small", "Boundary AP of objects under 32 x 32 pixels", _boundary("boundary_ap_small")),
    Heading(
        "Boundary AP medium", "Boundary AP of objects of 32 x 32 to 96 x 96 pixels", _boundary("boundary_ap_medium")
    ),
    Heading("Boundary AP large", "Boundary AP of objects over 96 x 96 pixels", _boundary("boundary_ap_large")),
    Heading("Overlap: keep", "mask AP with masks that may overlap, COCO's own rule", _overlap("keep")),
    Heading(
        "Overlap: highest score", "mask AP with each pixel given to its highest-scoring mask", _overlap("highest_score")
    ),
    Heading("Overlap: difference", "highest score minus keep", _overlap_difference, limited=False),
    Heading(
        "Calibration error",
        "expected calibration error at IoU 0.5: how far scores are from the share of true positives",
        lambda accuracy: _points(accuracy.calibration.expected_error if accuracy.calibration else None),
        limited=False,
    ),
)
