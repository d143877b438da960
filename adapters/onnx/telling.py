"""Tell layouts of outputs by names and shapes: each function gives the outputs by their roles, None where none fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.onnx.decode import COCO_IDS, COCO_OUTPUTS

MOST_FINISHED = 1000
"""No network that has its NMS in it gives more detections; a larger number is of anchors."""


@dataclass(frozen=True)
class Port:
    """One input or output: its name, its shape with None for an axis of any length, and whether it holds integers."""

    name: str
    shape: tuple[int | None, ...]
    integer: bool = False

    @property
    def rank(self) -> int:
        return len(self.shape)

    def words(self) -> str:
        return f"{self.name} ({', '.join('?' if edge is None else str(edge) for edge in self.shape)})"


Roles = dict[str, Port]
"""Output of the file by what it means in its layout."""


def _same(*edges: int | None) -> bool:
    """Tell whether the lengths that are known are equal."""
    return len({edge for edge in edges if edge is not None}) <= 1


def _of_rank(ports: Sequence[Port], *ranks: int) -> list[Port] | None:
    """Give the outputs in the order of these ranks, each once; None where the file has others."""
    if sorted(port.rank for port in ports) != sorted(ranks) or len(set(ranks)) != len(ranks):
        return None
    return [next(port for port in ports if port.rank == rank) for rank in ranks]


def _named(ports: Sequence[Port], **words: tuple[str, ...]) -> Roles | None:
    """Give each role the only output whose name holds one of its words; None where that is not one each."""
    roles: Roles = {}
    for role, known in words.items():
        found = [port for port in ports if any(word in port.name.lower() for word in known)]
        if len(found) != 1:
            return None
        roles[role] = found[0]
    return roles if len({port.name for port in roles.values()}) == len(ports) else None


def yolo(ports: Sequence[Port]) -> Roles | None:
    pair = _of_rank(ports, 3, 4)
    if pair is None:
        return None
    predictions, prototypes = pair
    channels, count = predictions.shape[1], prototypes.shape[1]
    fits = channels is not None and count is not None and channels > 4 + count
    # Anchors are many; a file with its NMS inside has its few detections in this place.
    anchors = predictions.shape[2]
    return {"predictions": predictions, "prototypes": prototypes} if fits and anchors != 6 + (count or 0) else None


def yolo_end_to_end(ports: Sequence[Port]) -> Roles | None:
    pair = _of_rank(ports, 3, 4)
    if pair is None:
        return None
    detections, prototypes = pair
    count, rows = prototypes.shape[1], detections.shape[1]
    fits = count is not None and detections.shape[2] == 6 + count and (rows is None or rows <= MOST_FINISHED)
    return {"detections": detections, "prototypes": prototypes} if fits else None


def queries(ports: Sequence[Port]) -> Roles | None:
    pair = _of_rank(ports, 3, 4)
    if pair is None:
        return None
    logits, masks = pair
    # A number of queries that is not known would fit every file of two outputs.
    fits = logits.shape[1] is not None and logits.shape[1] == masks.shape[1] and (logits.shape[2] or 2) >= 2
    return {"logits": logits, "masks": masks} if fits else None


def rfdetr(ports: Sequence[Port]) -> Roles | None:
    if sorted(port.rank for port in ports) != [3, 3, 4]:
        return None
    masks = next(port for port in ports if port.rank == 4)
    flat = [port for port in ports if port.rank == 3]
    if not _same(*(port.shape[1] for port in ports)):
        return None
    boxes = [port for port in flat if port.shape[2] == 4]
    if len(boxes) == 1 and not boxes[0].integer:
        [logits] = [port for port in flat if port is not boxes[0]]
        return {"boxes": boxes[0], "logits": logits, "masks": masks} if logits.shape[2] is not None else None
    return _named(ports, boxes=("box", "dets"), logits=("logit", "label", "score"), masks=("mask",))


def torchvision(ports: Sequence[Port]) -> Roles | None:
    if sorted(port.rank for port in ports) != [1, 1, 2, 4]:
        return None
    boxes, masks = (next(port for port in ports if port.rank == rank) for rank in (2, 4))
    labels = [port for port in ports if port.rank == 1 and port.integer]
    scores = [port for port in ports if port.rank == 1 and not port.integer]
    fits = len(labels) == len(scores) == 1 and boxes.shape[1] in (4, None) and masks.shape[1] in (1, None)
    return {"boxes": boxes, "labels": labels[0], "scores": scores[0], "masks": masks} if fits else None


def mmdeploy(ports: Sequence[Port]) -> Roles | None:
    found = _of_rank(ports, 3, 2, 4)
    if found is None:
        return None
    boxes, labels, masks = found
    fits = labels.integer and boxes.shape[2] in (5, None) and _same(*(port.shape[1] for port in ports))
    return {"boxes": boxes, "labels": labels, "masks": masks} if fits else None


def yolo_classes(roles: Roles) -> tuple[int, ...] | None:
    channels, count = roles["predictions"].shape[1], roles["prototypes"].shape[1]
    assert channels is not None
    assert count is not None
    return (channels - 4 - count,)


def rfdetr_classes(roles: Roles) -> tuple[int, ...] | None:
    outputs = roles["logits"].shape[2]
    if outputs is None:
        return None
    return (outputs, outputs - 1, len(COCO_IDS)) if outputs == COCO_OUTPUTS else (outputs, outputs - 1)


def query_classes(roles: Roles) -> tuple[int, ...] | None:
    outputs = roles["logits"].shape[2]
    return None if outputs is None else (outputs - 1,)


def not_told(roles: Roles) -> None:
    return None
