"""Compare the adapter's training losses with those of detectron2's own data mapper and training forward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from bench.data.shapes.generate import CLASSES, ensure
from bench.predictor import Settings, Target
from bench.schema.config import ShapesConfig

pytest.importorskip("detectron2", reason="detectron2 is not installed: docs/install.md says how")

from detectron2.data import DatasetMapper
from detectron2.data.datasets import load_coco_json
from detectron2.utils.events import EventStorage
from PIL import Image
from pycocotools.coco import COCO

from adapters.detectron2.predictor import Detectron2Predictor
from adapters.detectron2.training import named_losses

ROOT = Path(__file__).resolve().parents[2]
DEMOS = ("demo_mask_rcnn_detectron2", "demo_point_rend_detectron2")
CASCADE = "Misc/cascade_mask_rcnn_R_50_FPN_3x.yaml"
CPU = torch.device("cpu")
MASK_RCNN_LOSSES = {"rpn_objectness", "rpn_box", "class", "box", "mask"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give the image folder and the annotation file of three images, one of them with a crowd."""
    return ensure(ShapesConfig(split="train", count=3, cache=str(tmp_path_factory.mktemp("shapes"))))


@pytest.fixture(scope="module")
def batch(shapes: tuple[Path, Path]) -> tuple[list[np.ndarray], list[Target]]:
    """Give the images and their targets, read by pycocotools."""
    coco = COCO(str(shapes[1]))
    images, targets = [], []
    for image_id in coco.getImgIds():
        images.append(np.array(Image.open(shapes[0] / coco.imgs[image_id]["file_name"]).convert("RGB")))
        annotations = coco.loadAnns(coco.getAnnIds(image_id, iscrowd=False))
        masks = np.stack([coco.annToMask(a) for a in annotations]).astype(bool)
        boxes = [[c.min(), r.min(), c.max() + 1, r.max() + 1] for r, c in (np.nonzero(mask) for mask in masks)]
        labels = [a["category_id"] - 1 for a in annotations]
        targets.append(Target(torch.from_numpy(masks), torch.tensor(boxes, dtype=torch.float32), torch.tensor(labels)))
    return images, targets


def build(name: str, config: str | None = None, **replaced: Any) -> Detectron2Predictor:
    """Give a demo model with the classes of shapes in training mode; ``config`` is another config under its keys."""
    model = yaml.safe_load((ROOT / "configs" / "model" / f"{name}.yaml").read_text())
    torch.manual_seed(0)
    settings = Settings(device=CPU, config=config or model["config"], classes=CLASSES)
    predictor = Detectron2Predictor(settings, cfg={**model["options"]["cfg"], **replaced})
    predictor.module.train()
    return predictor


@pytest.mark.parametrize(
    ("name", "config", "names"),
    [
        (DEMOS[0], None, MASK_RCNN_LOSSES),
        (DEMOS[1], None, MASK_RCNN_LOSSES | {"point"}),
        (DEMOS[0], CASCADE, MASK_RCNN_LOSSES),
    ],
)
def test_sum_is_the_librarys_own(
    name: str,
    config: str | None,
    names: set[str],
    shapes: tuple[Path, Path],
    batch: tuple[list[np.ndarray], list[Target]],
) -> None:
    """The library reads the files itself: its mapper decodes, orders the channels, drops crowds and makes masks."""
    predictor = build(name, config)
    mapper = DatasetMapper(
        is_train=True,
        augmentations=[],
        image_format="BGR",
        use_instance_mask=True,
        instance_mask_format="bitmask",
        recompute_boxes=True,
    )
    theirs = [mapper(entry) for entry in load_coco_json(str(shapes[1]), str(shapes[0]), f"{name}-{config}")]
    torch.manual_seed(1)
    with EventStorage():
        expected = predictor.module(theirs)
    torch.manual_seed(1)
    ours = predictor.training_step(*batch)
    assert set(ours) == names
    assert all(loss.shape == () and loss.requires_grad for loss in ours.values())
    assert float(sum(ours.values())) == pytest.approx(float(sum(expected.values())), rel=1e-6)
    assert float(ours["mask"]) == pytest.approx(float(expected["loss_mask"]), rel=1e-6)


def test_heads_of_a_cascade_are_summed() -> None:
    given = {"loss_cls_stage0": 1.0, "loss_cls_stage1": 2.0, "loss_box_reg_stage0": 4.0, "loss_box_reg_stage1": 8.0}
    given |= {"loss_mask": 16.0, "loss_mask_point": 32.0, "loss_rpn_cls": 64.0, "loss_rpn_loc": 128.0, "loss_l2": 256.0}
    named = named_losses({key: torch.tensor(value) for key, value in given.items()})
    assert {key: float(value) for key, value in named.items()} == {
        "class": 3.0,
        "box": 12.0,
        "mask": 16.0,
        "point": 32.0,
        "rpn_objectness": 64.0,
        "rpn_box": 128.0,
        "l2": 256.0,
    }


@pytest.mark.parametrize("name", DEMOS)
def test_ten_steps_lower_the_sum_and_move_every_parameter(
    name: str, batch: tuple[list[np.ndarray], list[Target]]
) -> None:
    images, targets = batch
    predictor = build(name)
    before = {key: value.clone() for key, value in predictor.module.named_parameters()}
    assert all(value.requires_grad for value in predictor.module.parameters())
    optimizer = torch.optim.AdamW(predictor.module.parameters(), lr=1e-3)
    sums = []
    for _ in range(11):
        torch.manual_seed(0)
        total = sum(predictor.training_step(images[:1], targets[:1]).values(), torch.zeros(()))
        sums.append(float(total))
        optimizer.zero_grad()
        total.backward()
        assert all(p.grad is not None for p in predictor.module.parameters())
        optimizer.step()
    assert sums[-1] < 0.7 * sums[0]
    # Weight decay moves a weight by at most 11 * 1e-5 of its size; a gradient moves it by about 1e-3 a step.
    still = [k for k, v in predictor.module.named_parameters() if (v - before[k]).abs().max() < 1e-4]
    assert still == []


def test_output_that_is_not_finite_is_a_nan_loss(batch: tuple[list[np.ndarray], list[Target]]) -> None:
    images, targets = batch
    predictor = build(DEMOS[0])
    with torch.no_grad():
        predictor.module.proposal_generator.rpn_head.objectness_logits.bias.fill_(float("inf"))
    named = predictor.training_step(images[:1], targets[:1])
    assert all(np.isnan(float(loss)) for loss in named.values())
    assert set(named) == {"rpn_objectness", "rpn_box"}


def test_edges_are_those_of_the_test_resize() -> None:
    replaced = {"INPUT": {"MIN_SIZE_TEST": 200, "MAX_SIZE_TEST": 320, "MIN_SIZE_TRAIN": (640,)}}
    assert build(DEMOS[0], **replaced).training_edges() == (200, 320)


def test_backbone_is_the_pretrained_part_alone() -> None:
    predictor = build(DEMOS[0])
    backbone = {k for k, _ in predictor.module.named_parameters() if k.startswith(predictor.backbone_prefix)}
    assert {"backbone.bottom_up.stem.conv1.weight", "backbone.bottom_up.res5.2.conv3.norm.weight"} <= backbone
    assert "backbone.fpn_lateral2.weight" in dict(predictor.module.named_parameters()).keys() - backbone
