"""What the accuracy pass measures: the figures of COCO, and what follows from matches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from bench.files.bounds import Agreeing, Amount, Count, Fraction, Items, PositiveCount, SignedFraction
from bench.schema.config import ACCURACY_PARTS, OVERLAPS, BenchConfig

COCO_FIGURES = (
    "mask_ap",
    "mask_ap50",
    "mask_ap75",
    "mask_ap_small",
    "mask_ap_medium",
    "mask_ap_large",
    "mask_ar_1",
    "mask_ar_10",
    "mask_ar_100",
    "mask_ar_small",
    "mask_ar_medium",
    "mask_ar_large",
)
"""The twelve figures in pycocotools' order (``COCOeval.stats``), as fractions."""

LVIS_FIGURES = ("mask_ap_rare", "mask_ap_common", "mask_ap_frequent", "mask_ar")
"""What LVIS has beside them, as fractions: AP of the categories of each frequency, and recall at the limit."""


BOUNDARY_FIGURES = (
    "boundary_ap",
    "boundary_ap50",
    "boundary_ap75",
    "boundary_ap_small",
    "boundary_ap_medium",
    "boundary_ap_large",
)
"""Boundary AP (Cheng et al. 2021), with names like those of the mask figures, as fractions."""


TIDE_ERRORS = ("classification", "localization", "both", "duplicate", "background", "missed")
"""The six error types of TIDE (Bolya et al. 2020)."""

_SAME_AP, _SAME_MEAN = 1e-6, 1e-4
"""By how much two spellings of one AP may differ, as fractions: the same figure, and the mean of its classes."""


@dataclass
class BootstrapResult(Agreeing):
    """AP of resampled sets of images, fractions. Each set is drawn with replacement and has as many images.

    Replicate r is the same draw for every model on the same images (equal ``images_sha256``, ``seed`` and length), so
    that the difference of two models' lists is a paired bootstrap.
    """

    seed: int
    images_sha256: str
    mask_ap: list[Fraction]
    boundary_ap: list[Fraction] | None = None

    def check(self) -> None:
        """See :class:`Agreeing`."""
        if self.boundary_ap is not None and len(self.boundary_ap) != len(self.mask_ap):
            raise ValueError(f"bootstrap.boundary_ap has {len(self.boundary_ap)} entries, mask_ap {len(self.mask_ap)}")


@dataclass
class Calibration(Agreeing):
    """How far the scores are from the share of true positives at IoU 0.5, in bins of the score.

    expected_error: expected calibration error (Naeini et al. 2015)
    edges: of the bins
    mean_score, precision: in each bin, the mean score and the share of true positives; None in an empty bin. The scores
        of a class of the user's may be any finite numbers
    detections: their number in each bin
    """

    expected_error: Amount
    edges: list[Fraction]
    mean_score: list[float | None]
    precision: list[Fraction | None]
    detections: list[Count]

    def check(self) -> None:
        """See :class:`Agreeing`."""
        if {len(self.mean_score), len(self.precision), len(self.detections)} != {len(self.edges) - 1}:
            raise ValueError(
                f"calibration has {len(self.edges)} edges, so each of its other lists must have {len(self.edges) - 1}"
            )


@dataclass
class ImageFaults:
    """What a model got wrong in one image, at IoU 0.5 and score 0.3.

    image_id: as the annotation file has it
    missed: number of objects that no detection matches, also none that the limit of detections has removed
    false: number of false detections
    mean_iou: mean mask IoU of the true positives, None where there is none
    """

    image_id: int | str
    missed: Count
    false: Count
    mean_iou: Fraction | None


@dataclass
class AccuracyResult(Agreeing):
    """The accuracy pass. For random weights the fields from ``figures`` on are None.

    predictions: name of the results file beside ``result.json``
    predictions_sha256: of its bytes as they were written, so that a reader knows a file that was changed or put in its
        place since; None before there was this field
    figures_absent: why there are no figures, or no AP among them
    figures: :data:`COCO_FIGURES`, fractions, None where COCO defines none (no object of that size); of an LVIS set, by
        its rules, and :data:`LVIS_FIGURES` beside them
    per_class: AP of each category by its name, fractions
    confidence_interval: of mask AP, 95 %: percentiles of ``bootstrap``, moved so that their mean is the measured AP
    boundary_figures: :data:`BOUNDARY_FIGURES`, fractions
    overlap_mask_ap: mask AP with each of ``overlap=keep`` and ``highest_score``; one of the two is that of ``figures``
    errors: AP50 that is lost to each of :data:`TIDE_ERRORS`, fractions
    worst_images: by ``missed``, ``false`` and ``masks`` (lowest mean IoU), the worst first, at most 12 each
    seconds: wall time of the pass; where its images were predicted in shards, that of the longest shard and of merging
    max_detections: how many detections of an image and category count, by falling score; before there was this field,
        it was COCO's 100 whatever the protocol said
    parts: those of :data:`ACCURACY_PARTS` that were computed; none for random weights; before there was this
        field, all were. The fields of the others are None
    """

    evaluator: str
    evaluator_version: str
    images_evaluated: Count
    images_in_dataset: Count
    detections: Count
    overlap: str
    predictions: str
    figures: dict[str, Fraction | None] | None = None
    figures_absent: str | None = None
    per_class: dict[str, Fraction | None] | None = None
    confidence_interval: Annotated[list[SignedFraction], Items(2)] | None = None
    bootstrap: BootstrapResult | None = None
    boundary_figures: dict[str, Fraction | None] | None = None
    overlap_mask_ap: dict[str, Fraction | None] | None = None
    errors: dict[str, SignedFraction] | None = None
    calibration: Calibration | None = None
    worst_images: dict[str, list[ImageFaults]] | None = None
    seconds: Amount | None = None
    predictions_sha256: str | None = None
    max_detections: PositiveCount = 100
    parts: list[str] = field(default_factory=lambda: list(ACCURACY_PARTS))

    def check(self) -> None:
        """See :class:`Agreeing`: mask AP stands in it in three ways, and in its interval."""
        mask_ap = (self.figures or {}).get("mask_ap")
        if mask_ap is None:
            return
        contradicts = f"it contradicts itself: mask AP is {100 * mask_ap:.2f}, and"
        again = (self.overlap_mask_ap or {}).get(self.overlap)
        if again is not None and abs(again - mask_ap) > _SAME_AP:
            raise ValueError(f"{contradicts} with overlap {self.overlap}, which is the same figure, {100 * again:.2f}")
        classes = [value for value in (self.per_class or {}).values() if value is not None]
        if classes and abs((mean := math.fsum(classes) / len(classes)) - mask_ap) > _SAME_MEAN:
            raise ValueError(
                f"{contradicts} the mean of its {len(classes)} classes, which is the same figure, {100 * mean:.2f}"
            )
        if self.confidence_interval is not None:
            low, high = self.confidence_interval
            # The mean of skewed replicates may lie outside of their percentiles, though never so far.
            if not low - (high - low) - _SAME_AP <= mask_ap <= high + (high - low) + _SAME_AP:
                raise ValueError(f"{contradicts} its 95 % interval is [{100 * low:.2f}, {100 * high:.2f}]")


def parts_to_compute(config: BenchConfig, earlier: AccuracyResult | None) -> list[str]:
    """Give the parts of a job's accuracy that are asked for, or that an earlier run has computed."""
    kept = earlier.parts if earlier is not None and earlier.figures is not None else ()
    return [part for part in ACCURACY_PARTS if part in config.accuracy.parts or part in kept]


def evaluated_overlaps(config: BenchConfig, parts: Sequence[str]) -> Sequence[str]:
    """Give the ways with overlaps under which mask AP is computed, with these parts of the accuracy."""
    return OVERLAPS if "overlaps" in parts else (config.overlap,)


def made_overlaps(config: BenchConfig, parts: Sequence[str]) -> Sequence[str]:
    """Give the ways with overlaps under which results are made; those of random weights are only written."""
    return evaluated_overlaps(config, parts) if config.trained else (config.overlap,)
