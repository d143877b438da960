"""Compare the mmdet adapter's training with mmdet's own annotation loading, preprocessing and ``parse_losses``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("mmdet", reason="mmdet is not installed")
pytest.importorskip("mmcv.ops", reason="mmcv has no compiled ops")

from mmcv.transforms import Compose
from mmdet.registry import MODELS
from pycocotools import mask as coco_mask

from adapters.mmdet.predictor import MmdetPredictor
from adapters.mmdet.training import named_losses, refuse_stuff, training_edges
from bench.errors import UserError
from bench.predictor import Settings, Target

MODEL_CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "model"
SHAPES = ("circle", "square", "triangle", "star", "ring", "bar")
TWO_STAGE = {"rpn_objectness", "rpn_box", "class", "box", "mask"}
LOSSES = {
    "demo_mask_rcnn": TWO_STAGE,
    "demo_point_rend": TWO_STAGE | {"point"},
    "demo_solo": {"class", "mask"},
    "demo_solov2": {"class", "mask"},
    "demo_mask2former": {"class", "mask", "dice"},
}
Image = np.ndarray


def build(name: str, **settings: Any) -> MmdetPredictor:
    config = yaml.safe_load((MODEL_CONFIGS / f"{name}_mmdet.yaml").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    given = {"classes": SHAPES, "config": config["config"], **settings}
    return MmdetPredictor(Settings(torch.device("cpu"), **given), **config.get("options", {}))


def scene(height: int, width: int, seed: int) -> tuple[Image, Target]:
    """Give an image of noise with three bright objects: a disc, and two rectangles that overlap."""
    rows, columns = np.mgrid[:height, :width]
    masks = np.zeros((3, height, width), dtype=bool)
    masks[0] = (rows - 28) ** 2 + (columns - 30) ** 2 < 20**2
    masks[1, 40:80, 50:100] = True
    masks[2, 30:50, 70:96] = True
    masks[1] &= ~masks[2]
    image = np.random.default_rng(seed).integers(0, 90, (height, width, 3), dtype=np.uint8)
    for number, mask in enumerate(masks):
        image[mask, number] += 150
    boxes = torch.tensor([[11, 9, 50, 48], [50, 40, 100, 80], [70, 30, 96, 50]], dtype=torch.float32)
    return image, Target(torch.from_numpy(masks), boxes, torch.tensor([0, 1, 5]))


@pytest.fixture(scope="module")
def scenes() -> tuple[list[Image], list[Target]]:
    """Give two images of so different sizes that each is padded in its own direction."""
    images, targets = zip(scene(90, 128, 0), scene(120, 101, 1), strict=True)
    return list(images), list(targets)


def annotated(image: Image, target: Target) -> dict[str, Any]:
    """Give what mmdet's dataset hands to its pipeline for this image."""
    instances = []
    for mask, box, label in zip(target.masks.numpy(), target.boxes.tolist(), target.labels.tolist(), strict=True):
        rle = coco_mask.encode(np.asfortranarray(mask))
        rle["counts"] = rle["counts"].decode()
        instances.append({"bbox": box, "bbox_label": label, "mask": rle, "ignore_flag": 0})
    return {"img": np.ascontiguousarray(image[..., ::-1]), "img_id": 0, "instances": instances}


def own_losses(predictor: MmdetPredictor, images: list[Image], targets: list[Target], seed: int) -> Any:
    """Give total and named losses of a detector, pipeline and preprocessor that mmdet builds from the same config."""
    config = predictor.config.model.copy()
    config.data_preprocessor.batch_augments = None
    config.backbone.norm_eval = False
    detector = MODELS.build(config)
    detector.load_state_dict(predictor.module.state_dict())
    steps = ({"type": "LoadImageFromNDArray"}, {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True})
    pipeline = Compose([*steps, {"type": "PackDetInputs"}])
    packed = [pipeline(annotated(image, target)) for image, target in zip(images, targets, strict=True)]
    collated = {key: [p[key] for p in packed] for key in ("inputs", "data_samples")}
    data = detector.train().data_preprocessor(collated, True)
    torch.manual_seed(seed)
    return detector.parse_losses(detector.loss(data["inputs"], data["data_samples"]))


def step(predictor: MmdetPredictor, images: list[Image], targets: list[Target], seed: int) -> dict[str, torch.Tensor]:
    predictor.module.train()
    torch.manual_seed(seed)
    return predictor.training_step(images, targets)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_those_that_mmdet_optimises(name: str, scenes: tuple[list[Image], list[Target]]) -> None:
    predictor = build(name)
    ours = step(predictor, *scenes, seed=3)
    total, logged = own_losses(predictor, *scenes, seed=3)

    assert set(ours) == LOSSES[name]
    assert all(value.ndim == 0 for value in ours.values())
    assert float(sum(ours.values())) == pytest.approx(float(total), rel=1e-5)
    in_layers = sum(float(value) for key, value in logged.items() if key.endswith("loss_mask"))
    assert float(ours["mask"]) == pytest.approx(in_layers, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_reach_every_parameter_and_ten_steps_lower_the_loss(name: str) -> None:
    predictor = build(name)
    image, target = scene(96, 128, 0)
    sum(step(predictor, [image], [target], seed=0).values()).backward()  # type: ignore[union-attr]
    parameters = dict(predictor.module.named_parameters())
    # A PyTorch parameter without a gradient is one that an optimiser would leave as it is.
    assert [key for key, p in parameters.items() if p.grad is None or not p.grad.isfinite().all()] == []
    backbone = [p.grad.norm() for key, p in parameters.items() if key.startswith(predictor.backbone_prefix)]
    assert len(backbone) > 20
    assert max(backbone) > 0

    optimizer = torch.optim.AdamW(predictor.module.parameters(), lr=1e-3)
    history = []
    for _ in range(11):
        optimizer.zero_grad()
        loss = torch.stack(list(step(predictor, [image], [target], seed=0).values())).sum()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[-1] < 0.9 * history[0]


@pytest.mark.parametrize("name", LOSSES)
def test_trains_under_bfloat16_autocast(name: str, scenes: tuple[list[Image], list[Target]]) -> None:
    predictor = build(name)
    full = step(predictor, *scenes, seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = step(predictor, *scenes, seed=0)
    total = torch.stack([value.float() for value in losses.values()]).sum()
    total.backward()
    # Which RoIs are sampled changes with the rounding, and the losses of a random network with them.
    assert float(total) == pytest.approx(float(sum(full.values()).detach()), rel=0.2)  # type: ignore[union-attr]
    assert all(p.grad.isfinite().all() for p in predictor.module.parameters())


def test_mask2former_matches_in_float32_under_autocast(
    scenes: tuple[list[Image], list[Target]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hungarian algorithm gets the costs that float32 gives for the same predictions.

    In the 8 bits of bfloat16, queries would have equal costs and be matched by chance.
    """
    predictor = build("demo_mask2former")
    assigner = predictor.module.panoptic_head.assigner
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def assign(pred_instances: Any, gt_instances: Any, img_meta: Any) -> Any:
        costs = [cost(pred_instances, gt_instances, img_meta) for cost in assigner.match_costs]
        with torch.autocast("cpu", enabled=False):
            float32 = [cost(pred_instances, gt_instances, img_meta) for cost in assigner.match_costs]
        seen.append((sum(costs), sum(float32)))  # type: ignore[arg-type]
        return original(pred_instances, gt_instances, img_meta)

    original = assigner.assign
    monkeypatch.setattr(assigner, "assign", assign)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step(predictor, *scenes, seed=0)
    assert len(seen) == 2 * 4  # images, and predictions of the three layers and before them
    for costs, float32 in seen:
        assert costs.dtype == torch.float32
        assert torch.equal(costs, float32)


def test_nothing_stays_frozen_that_the_config_freezes_for_pretrained_weights() -> None:
    predictor = build("point_rend_r50", classes=None)
    backbone = predictor.config.model.backbone
    assert (backbone.frozen_stages, backbone.norm_cfg.requires_grad, backbone.norm_eval) == (1, False, True)
    predictor.module.train()
    assert all(p.requires_grad for p in predictor.module.parameters())
    assert all(module.training for module in predictor.module.modules())
    assert predictor.training_edges() == (800, 1333)


def test_training_edges_are_the_test_resize() -> None:
    assert build("demo_solov2").training_edges() == (384, 512)
    rtmdet = [{"type": "LoadImageFromFile"}, {"type": "Resize", "scale": (640, 640)}, {"type": "Pad", "size": (9, 9)}]
    assert training_edges(rtmdet) == (640, 640)
    with pytest.raises(UserError, match=r"options\.scale"):
        training_edges(rtmdet[:1])


def test_rtmdet_pads_to_its_fixed_size(scenes: tuple[list[Image], list[Target]]) -> None:
    settings = Settings(torch.device("cpu"), classes=SHAPES, config="rtmdet-ins_tiny_8xb32-300e_coco")
    predictor = MmdetPredictor(settings, cfg_options={"test_dataloader.dataset.pipeline.2.size": (160, 128)})
    seen: list[torch.Size] = []
    predictor.module.backbone.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].shape))
    losses = step(predictor, *scenes, seed=0)
    assert set(losses) == {"class", "box", "mask"}
    assert all(bool(value.isfinite()) for value in losses.values())
    assert seen == [(2, 3, 128, 160)]


def test_heads_layers_and_levels_are_summed_and_what_is_no_loss_is_left_out() -> None:
    def scalars(*values: float) -> list[torch.Tensor]:
        return [torch.tensor(value) for value in values]

    one, two, four, nine = scalars(1.0, 2.0, 4.0, 9.0)
    losses = {
        "loss_rpn_cls": scalars(1.0, 2.0),
        "s0.loss_cls": one,
        "s0.acc": nine,
        "s1.loss_cls": two,
        "d3.loss_cls": four,
        "loss_mask": torch.tensor([1.0, 4.0]),
        "loss_centerness": nine,
    }
    named = {key: float(value) for key, value in named_losses(losses).items()}
    assert named == {"rpn_objectness": 3.0, "class": 7.0, "mask": 2.5, "centerness": 9.0}


def test_a_head_that_learns_stuff_is_refused() -> None:
    with pytest.raises(UserError, match="semantic_head"):
        refuse_stuff(SimpleNamespace(roi_head=SimpleNamespace(semantic_head=object())))
