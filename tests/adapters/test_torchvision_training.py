"""Compare training through the torchvision adapter with torchvision's own losses, ``model(images, targets)``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from bench.predictor import Checkpoint, Settings, Target, predict

pytest.importorskip("torchvision", reason="torchvision is not installed")

from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights, maskrcnn_resnet50_fpn

from adapters.torchvision.predictor import TorchvisionPredictor

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("square", "bar", "corner")
CPU = torch.device("cpu")
DEMO: dict[str, Any] = dict(OmegaConf.load(ROOT / "configs" / "model" / "demo_mask_rcnn_torchvision.yaml").options)
THEIR_NAMES = {
    "rpn_objectness": "loss_objectness",
    "rpn_box": "loss_rpn_box_reg",
    "class": "loss_classifier",
    "box": "loss_box_reg",
    "mask": "loss_mask",
}


def scene(height: int, width: int, labels: tuple[int, ...] = (0, 1, 2)) -> tuple[np.ndarray, Target]:
    """Give a noisy image with a square, a bar and a corner, each of one colour."""
    image = np.random.default_rng(0).integers(0, 60, (height, width, 3), dtype=np.uint8)
    masks = torch.zeros(3, height, width, dtype=torch.bool)
    masks[0, 20:70, 10:60] = True
    masks[1, 80:95, 10:90] = True
    masks[2, 10:90, 80:120] = True
    masks[2, 10:50, 80:100] = False
    boxes = torch.tensor([[10.0, 20, 60, 70], [10, 80, 90, 95], [80, 10, 120, 90]])
    for channel, mask in enumerate(masks):
        image[mask.numpy(), channel] = 250
    return image, Target(masks, boxes, torch.tensor(labels))


SCENES = [scene(128, 160), scene(150, 130, (2, 0, 1))]
IMAGES, TARGETS = [image for image, _ in SCENES], [target for _, target in SCENES]


def seeded(classes: tuple[str, ...] | None = CLASSES, **options: Any) -> TorchvisionPredictor:
    torch.manual_seed(0)
    return TorchvisionPredictor(Settings(CPU, classes=classes), **(DEMO | options))


def library_says(predictor: TorchvisionPredictor, first_label: int = 1) -> dict[str, torch.Tensor]:
    """Give the losses of ``MaskRCNN.forward`` for images that keep their size, with seed 1."""
    predictor.module.transform._skip_resize = True
    images = [torch.from_numpy(image).permute(2, 0, 1) / 255 for image in IMAGES]
    targets = [{"boxes": t.boxes, "labels": t.labels + first_label, "masks": t.masks} for t in TARGETS]
    torch.manual_seed(1)
    return predictor.module(images, targets)


def test_losses_equal_the_library() -> None:
    predictor = seeded()
    predictor.module.train()
    theirs = library_says(predictor)
    torch.manual_seed(1)
    ours = predictor.training_step(IMAGES, TARGETS)
    assert set(ours) == set(THEIR_NAMES)
    for name, loss in ours.items():
        assert loss.shape == ()
        assert loss.item() == pytest.approx(theirs[THEIR_NAMES[name]].item(), abs=1e-5)


def test_gradients_reach_every_parameter() -> None:
    predictor = seeded()
    predictor.module.train()
    sum(predictor.training_step(IMAGES, TARGETS).values()).backward()
    for name, parameter in predictor.module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    prefix = predictor.backbone_prefix
    backbone = {p.data_ptr() for name, p in predictor.module.named_parameters() if name.startswith(prefix)}
    assert backbone == {p.data_ptr() for p in predictor.module.backbone.body.parameters()}


def test_ten_steps_lower_the_sum_and_the_model_still_predicts() -> None:
    predictor = seeded()
    predict(predictor, IMAGES[:1])
    predictor.module.train()
    optimizer = torch.optim.SGD(predictor.module.parameters(), lr=0.01, momentum=0.9)
    sums = []
    for _ in range(10):
        loss = sum(predictor.training_step(IMAGES[:1], TARGETS[:1]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums.append(loss.item())
    assert sum(sums[-3:]) < 0.7 * sum(sums[:3])
    predictor.module.eval()
    (instances,) = predict(predictor, IMAGES[:1])
    instances.validate(*IMAGES[0].shape[:2], num_classes=3, max_detections=100)


def test_labels_skip_the_gaps_among_the_published_outputs() -> None:
    """COCO's 91 outputs: "stop sign", class 11 of 80, is output 13, since output 12 is no class."""
    categories = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    image, target = scene(128, 160, (0, 11, 79))
    predictor = seeded(classes=None)
    labels: list[torch.Tensor] = []
    predictor.module.roi_heads.register_forward_pre_hook(lambda _, inputs: labels.append(inputs[3][0]["labels"]))
    predictor.module.train()
    predictor.training_step([image], [target])
    assert labels[0].tolist() == [1, 13, 90]
    assert [categories[label] for label in labels[0]] == [predictor.classes[i] for i in (0, 11, 79)]


def test_bfloat16_autocast_gives_nearly_the_same_losses() -> None:
    predictor = seeded()
    predictor.module.train()
    torch.manual_seed(1)
    exact = predictor.training_step(IMAGES, TARGETS)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predictor.training_step(IMAGES, TARGETS)
    sum(rounded.values()).backward()
    for name, loss in rounded.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact[name].item(), rel=0.2, abs=0.05), name


def test_training_edges_are_those_of_the_test_resize() -> None:
    assert seeded().training_edges() == (288, 384)


def test_published_weights_train_all_but_the_first_layers() -> None:
    """The library fine-tunes them with ``trainable_backbone_layers`` 3 of 5 and frozen BatchNorm."""
    torch.manual_seed(0)
    state = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4).state_dict()
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    predictor = TorchvisionPredictor(Settings(CPU, Checkpoint(state, "frozen.pth"), classes=CLASSES))
    frozen = {name for name, parameter in predictor.module.named_parameters() if not parameter.requires_grad}
    stem = ("backbone.body.conv1.", "backbone.body.layer1.")
    assert frozen == {name for name, _ in predictor.module.named_parameters() if name.startswith(stem)}
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in predictor.module.modules())
