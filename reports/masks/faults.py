"""What a model got wrong in an image: the objects that it missed, the detections that are false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.evaluation.diagnosis import SCORE
from reports.masks.drawing import Drawn
from reports.masks.judged import FALSE, FOUND, Rules, judge


@dataclass(frozen=True)
class Faults:
    """The objects of one image, by their places, and its detections: ``matched`` and ``true`` have a partner, and the
    others have none."""

    matched: list[int]
    missed: list[int]
    true: list[Drawn]
    false: list[Drawn]


def sort_out(
    objects: Sequence[Drawn], crowds: Sequence[Drawn], predictions: Sequence[Drawn], rules: Rules | None = None
) -> Faults:
    """Match the predictions with the objects at IoU 0.5, as the evaluation does; no mask is decoded.

    Detections under its score of 0.3 are left out, and so are those that are neither right nor wrong.
    """
    confident = sorted((d for d in predictions if d.score >= SCORE), key=lambda d: -d.score)
    judged = judge(objects, crowds, confident, rules or Rules())
    taken = {one.object for one in judged if one.kind == FOUND}
    return Faults(
        matched=[index for index in range(len(objects)) if index in taken],
        missed=[index for index in range(len(objects)) if index not in taken],
        true=[one.drawn for one in judged if one.kind == FOUND],
        false=[one.drawn for one in judged if one.kind == FALSE],
    )
