"""The promises of Instances, each broken once; checkpoints that do not fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bench.errors import UserError
from bench.predictor import Checkpoint, Instances, load_weights


def sound() -> Instances:
    return Instances(
        masks=torch.zeros(2, 3, 4, dtype=torch.bool),
        boxes=torch.zeros(2, 4),
        scores=torch.tensor([0.5, 0.5]),
        labels=torch.tensor([0, 1]),
    )


def test_sound_instances_pass() -> None:
    sound().validate(3, 4, num_classes=2, max_detections=2)
    none = Instances(torch.zeros(0, 3, 4, dtype=torch.bool), torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long())
    none.validate(3, 4, num_classes=2, max_detections=2)


BREAKS: dict[str, tuple[Callable[[Instances], object], str]] = {
    "float masks": (lambda i: setattr(i, "masks", i.masks.float()), "masks is torch.float32"),
    "half the size": (lambda i: setattr(i, "masks", i.masks[:, :2]), r"masks is torch.bool \(2, 2, 4\)"),
    "half boxes": (lambda i: setattr(i, "boxes", i.boxes.half()), "boxes is torch.float16"),
    "one box too few": (lambda i: setattr(i, "boxes", i.boxes[:1]), "boxes"),
    "int32 labels": (lambda i: setattr(i, "labels", i.labels.int()), "labels is torch.int32"),
    "a label too high": (lambda i: setattr(i, "labels", torch.tensor([0, 2])), "outside 0..1"),
    "a negative label": (lambda i: setattr(i, "labels", torch.tensor([0, -1])), "outside 0..1"),
    "NaN": (lambda i: setattr(i, "scores", torch.tensor([0.5, float("nan")])), "NaN"),
    "rising scores": (lambda i: setattr(i, "scores", torch.tensor([0.4, 0.5])), "falling score"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_promise_is_named(name: str) -> None:
    spoil, words = BREAKS[name]
    instances = sound()
    spoil(instances)
    with pytest.raises(ValueError, match=words):
        instances.validate(3, 4, num_classes=2, max_detections=2)


def test_too_many() -> None:
    with pytest.raises(ValueError, match="2 instances in one image, at most 1"):
        sound().validate(3, 4, num_classes=2, max_detections=1)


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def test_weights_that_fit_are_loaded() -> None:
    source, target = network(), network()
    # Older checkpoints have no step counter.
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    load_weights(target, Checkpoint(state, "w.pth"))
    assert torch.equal(target[0].weight, source[0].weight)  # type: ignore[index]


def test_weights_that_do_not_fit_are_counted() -> None:
    state = network().state_dict()
    state["0.weight"] = torch.zeros(5, 5)
    del state["1.weight"], state["1.bias"]
    state["head.weight"] = torch.zeros(1)
    with pytest.raises(UserError) as caught:
        load_weights(network(), Checkpoint(state, "w.pth"))
    message = str(caught.value)
    assert message.startswith("w.pth: ")
    assert "2 missing (first: 1.weight)" in message
    assert "1 unexpected (first: head.weight)" in message
    assert "1 of another shape (first: 0.weight)" in message
