"""Which class each label of a file's outputs is: by the names that the user gave, or those in the file."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.onnx.decode import COCO_IDS, COCO_OUTPUTS
from adapters.onnx.file import OnnxFile
from adapters.onnx.layouts import Layout
from adapters.onnx.telling import Roles
from bench.errors import UserError, nearest

LABELS = ("auto", "order", "coco")

RFDETR_NAMES = {"dets", "labels", "masks"}
"""The names that RF-DETR's own export gives its outputs."""


def classes(file: OnnxFile, told: Sequence[str] | None) -> tuple[str, ...]:
    """Give the class names: those that the user told, else those in the file.

    Raises:
        UserError: there are none.
    """
    if told:
        return tuple(told)
    if file.classes:
        return file.classes
    raise UserError(
        f"{file.path}: the file names no classes, and those of the data set may stand in another order; give "
        f"model.classes=[...] in the order of its labels"
    )


def notes(file: OnnxFile, names: Sequence[str]) -> tuple[str, ...]:
    """Say that the names are those of the file in another order: one of the two is wrong, and nothing would fail."""
    own = file.classes or ()
    if tuple(names) == own or sorted(names) != sorted(own):
        return ()
    place = next(place for place, name in enumerate(names) if name != own[place])
    return (
        f"model.classes has the names of the file in another order: its class {place} is {names[place]!r}, and the "
        f"file calls it {own[place]!r}; where the file is right, leave model.classes out",
    )


def labels(file: OnnxFile, layout: Layout, roles: Roles, names: Sequence[str], asked: str) -> list[int]:
    """Give our label of each label of the file, -1 for none.

    asked: ``order`` where the labels follow the names, ``coco`` where they are COCO's category ids (1 to 90, with gaps)

    Raises:
        UserError: the number of names does not fit, or what the labels are is not told.
    """
    if asked not in LABELS:
        raise UserError(f"model.options.labels={asked}: no such word; {nearest(asked, LABELS)}")
    fitting = layout.classes(roles)
    if fitting is not None and len(names) not in fitting:
        raise UserError(
            f"{file.path}: its outputs are of {' or '.join(map(str, dict.fromkeys(fitting)))} classes, and there are "
            f"{len(names)} class names ({', '.join(names[:3])}, ...); give model.classes=[...] with one name each, in "
            f"the order of its labels"
        )
    own: list[int] | None = file.told.get("labels")
    if own is not None and asked == "auto":
        if len(names) != max(own) + 1:
            raise UserError(
                f"model.classes: {file.path.name} is of {max(own) + 1} classes, and {len(names)} names are given; "
                f"leave model.classes out, since the file has names"
            )
        return own
    like_coco = len(names) == len(COCO_IDS)
    if asked == "auto" and like_coco and layout.name == "torchvision":
        raise UserError(
            f"{file.path}: its labels may be COCO's category ids (1 to 90, as torchvision's own weights have) or the "
            f"order of the 80 class names; give model.options.labels=coco or model.options.labels=order"
        )
    gaps = layout.name == "rfdetr" and len(names) == len(COCO_IDS) and roles["logits"].shape[2] == COCO_OUTPUTS
    if asked == "coco" or (asked == "auto" and gaps):
        if len(names) != len(COCO_IDS):
            raise UserError(f"model.options.labels=coco: is for the 80 classes of COCO, and there are {len(names)}")
        places = {category: place for place, category in enumerate(COCO_IDS)}
        return [places.get(label, -1) for label in range(COCO_OUTPUTS)]
    in_order = [-1] * layout.first_label + list(range(len(names)))
    outputs = max(fitting) if fitting is not None and layout.name == "rfdetr" else len(in_order)
    return in_order + [-1] * (outputs - len(in_order))


def refuse_ambiguous(file: OnnxFile, layout: Layout, roles: Roles, names: Sequence[str]) -> None:
    """Refuse outputs of RF-DETR or of DETR, where nothing says which: one has a sigmoid, the other a softmax.

    With a name for each output they are RF-DETR's, since DETR has one for "no object"; and so are COCO's 91 outputs
    with 80 names. RF-DETR's own names tell too.
    """
    if layout.name != "rfdetr" or {port.name for port in roles.values()} == RFDETR_NAMES:
        return
    outputs = roles["logits"].shape[2]
    if outputs is None or outputs == len(names) + 1:
        raise UserError(
            f"{file.path}: its outputs fit the layouts rfdetr (each logit is of a class, by sigmoid) and detr (the "
            f"last logit is of no object, by softmax); give model.options.layout=rfdetr or model.options.layout=detr"
        )
