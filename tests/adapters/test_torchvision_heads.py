"""Compare the ablations of torchvision's Mask R-CNN with numbers by hand and the library's own functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.predictor import Settings, Target

pytest.importorskip("torchvision", reason="torchvision is not installed")

from torchvision.models.detection.roi_heads import maskrcnn_inference, maskrcnn_loss
from torchvision.ops import MultiScaleRoIAlign

from adapters.torchvision.heads import (
    ClassAgnosticPredictor,
    MultiScaleRoIPool,
    SoftmaxPredictor,
    multinomial_mask_loss,
)
from adapters.torchvision.predictor import TorchvisionPredictor

CPU = torch.device("cpu")
CLASSES = ("square", "bar")


def seeded(**options: Any) -> TorchvisionPredictor:
    torch.manual_seed(0)
    settings = Settings(CPU, classes=CLASSES, score_threshold=0.0, max_detections=20)
    return TorchvisionPredictor(settings, builder="demo", min_size=96, max_size=128, **options)


def scene() -> tuple[list[np.ndarray], list[Target]]:
    image = np.random.default_rng(0).integers(0, 60, (96, 128, 3), dtype=np.uint8)
    masks = torch.zeros(2, 96, 128, dtype=torch.bool)
    masks[0, 20:70, 10:60] = True
    masks[1, 80:95, 10:90] = True
    boxes = torch.tensor([[10.0, 20, 60, 70], [10, 80, 90, 95]])
    return [image], [Target(masks, boxes, torch.tensor([0, 1]))]


def training_losses(predictor: TorchvisionPredictor) -> dict[str, torch.Tensor]:
    predictor.module.train()
    torch.manual_seed(1)
    return predictor.training_step(*scene())


def constant(predictor: torch.nn.Module, biases: list[float]) -> torch.nn.Module:
    """Make the mask predictor give these logits at every pixel."""
    torch.nn.init.zeros_(predictor.mask_fcn_logits.weight)
    predictor.mask_fcn_logits.bias.data.copy_(torch.tensor(biases))
    return predictor


def test_roi_pool_takes_the_largest_of_whole_cells() -> None:
    """Cells of 4 pixels hold 8 x row + column. The box ends at 3.75, rounded to cell 4: parts are 0-2 and 2-4."""
    cells = torch.arange(64.0).reshape(1, 1, 8, 8)
    pool = MultiScaleRoIPool(["0"], output_size=2, sampling_ratio=2)
    box = torch.tensor([[0.0, 0, 15, 15]])
    assert pool({"0": cells}, [box], [(32, 32)])[0, 0].tolist() == [[18, 20], [34, 36]]
    # Rounding hides a shift of one pixel, which RoIAlign sees.
    moved = box + torch.tensor([1.0, 1, 1, 1])
    assert pool({"0": cells}, [moved], [(32, 32)])[0, 0].tolist() == [[18, 20], [34, 36]]
    align = MultiScaleRoIAlign(["0"], output_size=2, sampling_ratio=2)
    assert not torch.equal(align({"0": cells}, [moved], [(32, 32)]), align({"0": cells}, [box], [(32, 32)]))


def test_roi_pool_reads_the_image_and_the_level_that_roi_align_reads() -> None:
    """Every level of every image is of one value; at 448 pixels, boxes of 50, 150 and 430 lie on levels 0, 1 and 2."""
    values = {"0": (1.0, 10.0), "1": (2.0, 20.0), "2": (3.0, 30.0)}
    features = {
        name: torch.tensor(pair)[:, None, None, None].expand(2, 1, 112 >> level, 112 >> level)
        for level, (name, pair) in enumerate(values.items())
    }
    sides = torch.tensor([[50.0], [150], [430]])
    boxes = torch.cat([torch.zeros(3, 2), sides, sides], 1)
    arguments = features, [boxes, boxes.flip(0)], [(448, 448), (448, 448)]
    pooled = MultiScaleRoIPool(list(values), 7, 2)(*arguments)
    assert pooled[:, 0, 3, 3].tolist() == [1, 2, 3, 30, 20, 10]
    torch.testing.assert_close(pooled, MultiScaleRoIAlign(list(values), 7, 2)(*arguments))


def test_poolings_share_their_weights_but_not_their_losses() -> None:
    align, pool = seeded(), seeded(roi_pooling="pool")
    assert all(torch.equal(a, b) for a, b in zip(align.module.parameters(), pool.module.parameters(), strict=True))
    for name in ("box_roi_pool", "mask_roi_pool"):
        ours, theirs = getattr(pool.module.roi_heads, name), getattr(align.module.roi_heads, name)
        assert isinstance(ours, MultiScaleRoIPool)
        assert ours.output_size == theirs.output_size
    aligned, pooled = training_losses(align), training_losses(pool)
    assert aligned["rpn_box"].item() == pooled["rpn_box"].item()
    assert aligned["mask"].item() != pooled["mask"].item()


def test_class_agnostic_head_has_one_mask_for_every_label() -> None:
    predictor = constant(ClassAgnosticPredictor(4, 4, num_classes=3), [1.0])
    logits = predictor(torch.zeros(2, 4, 14, 14))
    assert logits.shape == (2, 3, 28, 28)
    masks = torch.cat(maskrcnn_inference(logits, [torch.tensor([1]), torch.tensor([2])]))
    torch.testing.assert_close(masks, torch.full((2, 1, 28, 28), 1 / (1 + math.exp(-1))))
    inside = [torch.ones(1, 32, 32)]
    box = [torch.tensor([[4.0, 4, 20, 20]])]
    loss = maskrcnn_loss(logits[:1], box, inside, [torch.tensor([2])], [torch.tensor([0])])
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_multinomial_loss_is_its_closed_form() -> None:
    """A box of label 2 has one pixel inside and one outside its mask, then half of the mask in each."""
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]]).log().T.reshape(1, 3, 1, 2) + 7
    labels = torch.tensor([2])
    loss = multinomial_mask_loss(logits, torch.tensor([[[1.0, 0.0]]]), labels)
    assert loss.item() == pytest.approx(-(math.log(0.25) + math.log(0.2)) / 2)
    loss = multinomial_mask_loss(logits, torch.tensor([[[0.5, 0.5]]]), labels)
    assert loss.item() == pytest.approx(-(math.log(0.5) + math.log(0.25) + math.log(0.2) + math.log(0.5)) / 4)
    inside = torch.rand(1, 1, 2).round()
    theirs = torch.nn.functional.cross_entropy(logits, inside.long() * 2)
    torch.testing.assert_close(multinomial_mask_loss(logits, inside, labels), theirs)
    nothing = multinomial_mask_loss(logits[:0], inside[:0], labels[:0])
    assert nothing.item() == 0


def test_softmax_head_gives_the_library_its_probabilities() -> None:
    probabilities = [0.5, 0.3, 0.2]
    predictor = constant(SoftmaxPredictor(4, 4, 3), [math.log(p) + 5 for p in probabilities]).eval()
    masks = maskrcnn_inference(predictor(torch.zeros(3, 4, 14, 14)), [torch.tensor([0, 1, 2])])[0]
    for mask, probability in zip(masks, probabilities, strict=True):
        torch.testing.assert_close(mask, torch.full((1, 28, 28), probability))
    certain = constant(predictor, [200.0, 0, -200])(torch.zeros(3, 4, 14, 14))
    assert maskrcnn_inference(certain, [torch.tensor([0, 1, 2])])[0][:, 0, 0, 0].tolist() == [1, 0, 0]


def test_softmax_changes_the_mask_loss_only() -> None:
    plain, softmax = seeded(), seeded(mask_head="softmax")
    softmax.module.load_state_dict(plain.module.state_dict())
    for predictor in (plain, softmax):
        constant(predictor.module.roi_heads.mask_predictor, [0.0, 0, 0])
    ours, theirs = training_losses(softmax), training_losses(plain)
    assert {n: v.item() for n, v in ours.items() if n != "mask"} == {
        n: v.item() for n, v in theirs.items() if n != "mask"
    }
    assert ours["mask"].item() == pytest.approx(math.log(3))
    assert theirs["mask"].item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("mask_head", ["class_agnostic", "softmax"])
def test_masks_pasted_are_the_heads_probabilities(mask_head) -> None:
    predictor = seeded(mask_head=mask_head)
    logits: list[torch.Tensor] = []
    layer = predictor.module.roi_heads.mask_predictor.mask_fcn_logits
    layer.register_forward_hook(lambda _, inputs, output: logits.append(output))
    with torch.inference_mode():
        raw = predictor.forward(predictor.preprocess(scene()[0]))
        (instances,) = predictor.postprocess(raw)
    detection = raw.detections[0]
    assert detection["masks"].shape == (20, 1, 28, 28)
    if mask_head == "softmax":
        expected = logits[0].softmax(1)[torch.arange(20), detection["labels"]]
    else:
        expected = logits[0][:, 0].sigmoid()
    torch.testing.assert_close(detection["masks"][:, 0], expected)
    instances.validate(96, 128, num_classes=2, max_detections=20)


@pytest.mark.parametrize(
    "options", [{"roi_pooling": "pool"}, {"mask_head": "class_agnostic"}, {"mask_head": "softmax"}]
)
def test_gradients_reach_every_parameter(options) -> None:
    predictor = seeded(**options)
    sum(training_losses(predictor).values()).backward()
    for name, parameter in predictor.module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert name.startswith("backbone.body.") or parameter.grad.any(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roi_pooling": "pol"}, r"model\.options\.roi_pooling=pol.*did you mean pool"),
        ({"mask_head": "class_agnotic"}, r"model\.options\.mask_head=class_agnotic.*did you mean class_agnostic"),
    ],
)
def test_unknown_choices_name_the_nearest(options, message) -> None:
    with pytest.raises(UserError, match=message):
        seeded(**options)
