"""Test that invalid instances and batches are refused, that boxes fit masks, and which checkpoints load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from habits import Bright
from toy_models import Blobs

from bench.errors import UserError
from bench.predictor import Checkpoint, Instances, Settings, boxes_around, load_weights, validate_batch


def sound() -> Instances:
    return Instances(
        masks=torch.zeros(2, 3, 4, dtype=torch.bool),
        boxes=torch.zeros(2, 4),
        scores=torch.tensor([0.5, 0.5]),
        labels=torch.tensor([0, 1]),
    )


def test_valid_instances_pass() -> None:
    sound().validate(3, 4, num_classes=2, max_detections=2)
    none = Instances(torch.zeros(0, 3, 4, dtype=torch.bool), torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long())
    none.validate(3, 4, num_classes=2, max_detections=2)


INVALID: dict[str, tuple[Callable[[Instances], object], str]] = {
    "float masks": (lambda i: setattr(i, "masks", i.masks.float()), "masks is torch.float32"),
    "half the size": (lambda i: setattr(i, "masks", i.masks[:, :2]), r"masks is torch.bool \(2, 2, 4\)"),
    "half boxes": (lambda i: setattr(i, "boxes", i.boxes.half()), "boxes is torch.float16"),
    "one box too few": (lambda i: setattr(i, "boxes", i.boxes[:1]), "boxes"),
    "int32 labels": (lambda i: setattr(i, "labels", i.labels.int()), "labels is torch.int32"),
    "a label too high": (lambda i: setattr(i, "labels", torch.tensor([0, 2])), "labels holds 2, must be 0 to 1"),
    "a negative label": (lambda i: setattr(i, "labels", torch.tensor([0, -1])), "labels holds -1, must be 0 to 1"),
    "NaN": (lambda i: setattr(i, "scores", torch.tensor([0.5, float("nan")])), "NaN"),
    "numpy masks": (lambda i: setattr(i, "masks", i.masks.numpy()), "masks is a numpy.ndarray, must be a torch.Tensor"),
    "a lone score": (lambda i: setattr(i, "scores", torch.tensor(0.5)), r"must be torch.bool \(1, 3, 4\)"),
    "rising scores": (lambda i: setattr(i, "scores", torch.tensor([0.4, 0.5])), "falling score"),
}


@pytest.mark.parametrize("name", INVALID)
def test_what_is_invalid_is_named(name: str) -> None:
    spoil, words = INVALID[name]
    instances = sound()
    spoil(instances)
    with pytest.raises(ValueError, match=words):
        instances.validate(3, 4, num_classes=2, max_detections=2)


def test_too_many() -> None:
    with pytest.raises(ValueError, match="holds 2 instances, must be at most 1 of one image"):
        sound().validate(3, 4, num_classes=2, max_detections=1)


PREDICTOR = Blobs(Settings(torch.device("cpu"), classes=("cat", "dog")))


def test_a_valid_batch_passes() -> None:
    validate_batch(PREDICTOR, [sound(), sound()], [(3, 4), (3, 4)], max_detections=2)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ([sound()], "Blobs.postprocess: gave 1 of them, must be a list of 2 Instances"),
        (sound(), "Blobs.postprocess: gave a bench.predictor.Instances, must be a list of 2 Instances"),
        (None, "Blobs.postprocess: gave a NoneType, must be a list of 2"),
        ([sound(), {"masks": 1}], "Blobs.postprocess: image 1 of the batch: gave a dict, must be Instances"),
        (
            [sound(), sound()],
            r"Blobs.postprocess: image 1 of the batch: Instances.masks is torch.bool \(2, 3, 4\), must be torch.bool "
            r"\(2, 6, 8\)",
        ),
    ],
)
def test_an_invalid_batch_names_the_method(batch: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        validate_batch(PREDICTOR, batch, [(3, 4), (6, 8)], max_detections=2)


def test_boxes_around_hand_made_masks() -> None:
    masks = torch.zeros(4, 6, 8, dtype=torch.bool)
    masks[0, 2:4, 1:6] = True
    masks[1, 5, 7] = True
    masks[3, 0, 0] = masks[3, 4, 2] = True
    boxes = boxes_around(masks)
    assert boxes.dtype == torch.float32
    assert boxes.tolist() == [[1, 2, 6, 4], [7, 5, 8, 6], [0, 0, 0, 0], [0, 0, 3, 5]]
    assert boxes_around(masks[:0]).shape == (0, 4)
    assert boxes_around(masks.flip(2)).tolist()[0] == [2, 2, 7, 4]


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


MORE_INVALID: dict[str, tuple[Callable[[Instances], object], str]] = {
    "NaN in a box": (lambda i: i.boxes[1].fill_(float("nan")), "boxes holds NaN or infinity, must be finite"),
    "an infinite box": (lambda i: i.boxes[0, 2].fill_(float("inf")), "boxes holds NaN or infinity, must be finite"),
    "width in place of x2": (
        lambda i: i.boxes[1].copy_(torch.tensor([9.0, 1.0, 3.0, 4.0])),
        r"boxes holds \[9.0, 1.0, 3.0, 4.0\], must be \[x1, y1, x2, y2\] with x1 <= x2 and y1 <= y2",
    ),
    "a score below the threshold": (
        lambda i: setattr(i, "scores", torch.tensor([0.6, 0.4])),
        r"scores holds 0.4, must be at least the score threshold 0.5 \(settings.score_threshold\)",
    ),
}


@pytest.mark.parametrize("name", MORE_INVALID)
def test_values_that_are_invalid_are_named(name: str) -> None:
    spoil, words = MORE_INVALID[name]
    instances = sound()
    instances.validate(3, 4, num_classes=2, max_detections=2, score_threshold=0.5)
    spoil(instances)
    with pytest.raises(ValueError, match=words):
        instances.validate(3, 4, num_classes=2, max_detections=2, score_threshold=0.5)


def test_what_libraries_give_is_valid() -> None:
    """Boxes beyond the image and of no area, scores above 1 and below 0, and a threshold rounded to 16 bits."""
    instances = sound()
    instances.boxes = torch.tensor([[-50.0, -1.0, 1e6, 4.0], [2.0, 2.0, 2.0, 2.0]])
    instances.scores = torch.tensor([1.2, -0.1])
    instances.validate(3, 4, num_classes=2, max_detections=2)
    instances.validate(3, 4, num_classes=2, max_detections=2, score_threshold=0.0)
    for dtype in (torch.float16, torch.bfloat16):
        instances.scores = torch.tensor([0.05, 0.05]).to(dtype).float()
        instances.validate(3, 4, num_classes=2, max_detections=2, score_threshold=0.05)


def test_masks_of_a_torch_network_are_on_its_device_where_they_are_timed() -> None:
    elsewhere = sound()
    batch, sizes, device = [elsewhere], [(3, 4)], torch.device("cuda:0")
    with pytest.raises(ValueError, match=r"image 0 of the batch: Instances\.masks are on cpu, must be on cuda:0"):
        validate_batch(PREDICTOR, batch, sizes, max_detections=2, device=device)
    validate_batch(PREDICTOR, batch, sizes, max_detections=2)
    validate_batch(PREDICTOR, batch, sizes, max_detections=2, device=torch.device("cpu"))
    another_runtime = Bright(Settings(device, classes=("cat", "dog")))
    validate_batch(another_runtime, batch, sizes, max_detections=2, device=device)
