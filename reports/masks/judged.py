"""Which detections of an image are right and which false, as the evaluation has it: at IoU 0.5, in their class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.data.coco_json import mask_library
from bench.data.ids import Id
from bench.evaluation.matching import AREA_RANGES, match
from reports.masks.drawing import Drawn

FOUND, FALSE, IN_CROWD, UNCOUNTED = "found", "false", "crowd", "uncounted"


@dataclass(frozen=True)
class Rules:
    """What the evaluation of an image leaves out.

    most: how many detections count, by falling score: of the image and a class, of LVIS of the whole image
    classes: those of which detections count; None for all, as of every set but LVIS
    lenient: those of which LVIS has not annotated all objects, so that no detection of them is false
    """

    most: int = 100
    classes: frozenset[Id] | None = None
    lenient: Collection[Id] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Judged:
    """A detection and what the evaluation makes of it.

    kind: :data:`FOUND`, :data:`FALSE`, :data:`IN_CROWD` (neither right nor wrong) or :data:`UNCOUNTED`
    object: the index of the object that it matches, of a crowd behind all objects; -1 for none
    iou: with that object; else the highest with one of its class, of what lies in a crowd the share that does
    """

    drawn: Drawn
    kind: str
    object: int
    iou: float


def judge(objects: Sequence[Drawn], crowds: Sequence[Drawn], detections: Sequence[Drawn], rules: Rules) -> list[Judged]:
    """Match the detections of one image, by falling score, with its objects; no mask is decoded.

    A detection that is left out here for its low score would change nothing: those of higher scores go first.
    """
    everything = [*objects, *crowds]
    crowd = np.arange(len(everything)) >= len(objects)
    counted = _counted(detections, rules)
    iou = _iou(detections, everything, crowd)
    matchable = np.where(np.asarray(counted, bool)[:, None], iou, -1.0)
    needless = np.repeat(crowd[:, None], len(AREA_RANGES), axis=1)
    object_of = match(matchable, crowd, needless, np.zeros((len(detections), len(AREA_RANGES)), bool))[2]
    judged = []
    for place, (drawn, index) in enumerate(zip(detections, object_of.tolist(), strict=True)):
        if not counted[place]:
            kind = UNCOUNTED
        elif index < 0:
            kind = UNCOUNTED if drawn.category_id in rules.lenient else FALSE
        else:
            kind = IN_CROWD if crowd[index] else FOUND
        overlaps = iou[place] if index >= 0 else iou[place][~crowd]
        overlap = overlaps[index] if index >= 0 else max(overlaps, default=0.0)
        judged.append(Judged(drawn, kind, index, max(0.0, float(overlap))))
    return judged


def _counted(detections: Sequence[Drawn], rules: Rules) -> list[bool]:
    """Say which of the detections count, by falling score."""
    if rules.classes is not None:
        return [n < rules.most and d.category_id in rules.classes for n, d in enumerate(detections)]
    ranks: dict[Id, int] = {}
    counted = []
    for drawn in detections:
        rank = ranks[drawn.category_id] = ranks.get(drawn.category_id, 0) + 1
        counted.append(rank <= rules.most)
    return counted


def _iou(detections: Sequence[Drawn], objects: Sequence[Drawn], crowd: np.ndarray) -> np.ndarray:
    """The mask IoU of all pairs of one class, float64 (D, G), -1 between classes; with a crowd, the share in it."""
    if not detections or not objects:
        return np.zeros((len(detections), len(objects)))
    rles = [drawn.rle for drawn in detections], [drawn.rle for drawn in objects]
    iou = np.asarray(mask_library().iou(*rles, crowd.astype(int).tolist()))
    # Classes may be texts, which no array holds beside numbers.
    alike = np.array([[d.category_id == g.category_id for g in objects] for d in detections])
    return np.where(alike, iou, -1.0)
