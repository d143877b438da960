"""Which class logit of a network belongs to which class of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import UserError, nearest

COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""The category ids from 1 to 90 that COCO does not use."""

COCO_IDS = tuple(number for number in range(1, 91) if number not in COCO_GAPS)
"""COCO's 80 category ids in their order."""

PANOPTIC = 133
"""The classes of COCO panoptic, the first 80 of which are COCO's categories in their order."""

UNUSED = "N/A"
"""What the library's configurations call a logit that stands for nothing."""


@dataclass(frozen=True)
class Columns:
    """The class logits of a network, without "no object".

    names: one for each logit; :data:`UNUSED` where it stands for nothing
    kept: the logits that are classes of the model, in the order of its labels
    """

    names: tuple[str, ...]
    kept: tuple[int, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.names[number] for number in self.kept)

    @property
    def by_logit(self) -> tuple[str | None, ...]:
        """The class of each logit, None where it is of no class."""
        return tuple(name if number in self.kept else None for number, name in enumerate(self.names))

    @property
    def all_kept(self) -> bool:
        return self.kept == tuple(range(len(self.names)))

    @classmethod
    def of(cls, classes: tuple[str, ...], label_ids: str | None) -> Columns:
        """Give the logits of a model of these classes.

        label_ids: None where logit N is class N; ``coco`` where logit N is the category with the id N, of 91;
            ``coco_panoptic`` where the first 80 of 133 are COCO's. A model of another number of classes than COCO's,
            as one that is trained on other data, has one logit a class

        Raises:
            UserError: ``label_ids`` is something else.
        """
        numberings = {"coco": (91, COCO_IDS), "coco_panoptic": (PANOPTIC, tuple(range(len(COCO_IDS))))}
        if label_ids is not None and label_ids not in numberings:
            raise UserError(f"model.options.label_ids={label_ids}: unknown; {nearest(label_ids, numberings)}")
        if label_ids is None or len(classes) != len(COCO_IDS):
            return cls(classes, tuple(range(len(classes))))
        logits, kept = numberings[label_ids]
        names = dict(zip(kept, classes, strict=True))
        return cls(tuple(names.get(number, UNUSED) for number in range(logits)), kept)

    @classmethod
    def named(cls, id2label: Mapping[int, str], classes: tuple[str, ...] | None) -> Columns:
        """Give the logits that a checkpoint's configuration names.

        id2label: the name of each logit; ``LABEL_7`` is what the library writes where nobody gave one
        classes: the names to take where it has none

        Raises:
            UserError: it has no names, and ``classes`` are not as many.
        """
        names = tuple(id2label[number] for number in range(len(id2label)))
        if any(name != f"LABEL_{number}" for number, name in enumerate(names)):
            return cls(names, tuple(number for number, name in enumerate(names) if name != UNUSED))
        if classes is not None and len(classes) == len(names):
            return cls(classes, tuple(range(len(names))))
        if classes is not None and len(names) == 91 and len(classes) == len(COCO_IDS):
            return cls.of(classes, "coco")
        raise UserError(
            f"model.classes: the checkpoint's configuration has {len(names)} classes and no names for them; give "
            f"model.classes=[...] in the order of its labels"
        )
