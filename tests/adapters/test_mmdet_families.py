"""Compare each of mmdet's families with ``inference_detector``: narrow relatives here, full size with ``-m slow``.

The detector to compare with is built from the zoo's own config, to which the test alone makes its changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("mmdet", reason="mmdet is not installed")
pytest.importorskip("mmcv.ops", reason="mmcv has no compiled ops")

import narrow_mmdet
from mmdet.apis import inference_detector
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmdet.structures import DetDataSample
from mmdet_reference import SizesSeen, assert_same, bgr, give_it_something_to_say, reference
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from adapters.mmdet.paste import pasted
from adapters.mmdet.predictor import MmdetPredictor
from adapters.mmdet.stages import split_of
from adapters.mmdet.zoo import configs_folder
from bench.errors import UserError
from bench.predictor import Checkpoint, Settings, predict

MODELS = Path(__file__).resolve().parents[2] / "configs" / "model"
CPU = torch.device("cpu")
SIZE = (224, 224)
WAYS = (
    "rtmdet_ins_tiny",
    "condinst_r50",
    "queryinst_r50",
    "cascade_mask_rcnn_r50",
    "htc_r50",
    "yolact_r50",
    "ms_rcnn_r50",
    "mask2former_swin_s",
    "mask2former_swin_b",
)
"""One model for every way in which a family makes its masks; mask2former_swin_b is a panoptic network."""

NARROW_ONLY = "solov2_r101_dcn"
"""At full size its untrained masks are all empty or full, which proves nothing."""

ELSEWHERE = ("mask_rcnn_r50", "mask_rcnn_r101", "solo_r50", "solov2_r50", "solov2_light_r50", "point_rend_r50")
FULL_SIZE = sorted(
    {path.stem.removesuffix("_mmdet") for path in MODELS.glob("*_mmdet.yaml") if not path.stem.startswith("demo_")}
    - {*ELSEWHERE, NARROW_ONLY}
)


def config_of(name: str) -> str:
    return str(yaml.safe_load((MODELS / f"{name}_mmdet.yaml").read_text(encoding="utf-8"))["config"])


def narrow(name: str) -> dict[str, Any]:
    changes: dict[str, Any] = narrow_mmdet.NARROW[f"{name}_mmdet"]
    return changes


def build(name: str, changes: dict[str, Any], size: tuple[int, int] = SIZE, **settings: Any) -> MmdetPredictor:
    """Give our predictor with random weights; SOLO keeps its thresholds, as at 0 it would limit its candidates."""
    torch.manual_seed(0)
    threshold = None if name.startswith("solo") else 0.0
    given = Settings(CPU, **{"config": config_of(name), "score_threshold": threshold, **settings})
    return give_it_something_to_say(MmdetPredictor(given, scale=size, cfg_options={"model": changes}))


def zoo_config(name: str, changes: dict[str, Any], size: tuple[int, int] = SIZE) -> Config:
    """Give the zoo's own config of a model with the same changes, and all candidates kept."""
    config = Config.fromfile(str(next(configs_folder().glob(f"*/{config_of(name)}.py"))))
    config.merge_from_dict({"model": changes})
    steps = config.test_dataloader.dataset.pipeline
    # Panoptic annotations need a package that reads them, which inference does not.
    config.test_dataloader.dataset.pipeline = steps = [step for step in steps if "Annotations" not in step["type"]]
    for step in steps:
        step.update({"Resize": {"scale": size}, "Pad": {"size": size}}.get(step["type"], {}))
    test = config.model.test_cfg.get("rcnn") or config.model.test_cfg
    if "score_thr" in test and not name.startswith("solo"):
        test.score_thr = 0.0
    return config


def small(photographs: list[np.ndarray]) -> list[np.ndarray]:
    """Give a wide and a tall image of odd sizes."""
    return [np.ascontiguousarray(image[:-3:2, :-5:2]) for image in photographs]


@pytest.mark.parametrize("name", [*WAYS, pytest.param(NARROW_ONLY, marks=pytest.mark.slow)])
def test_a_narrow_relative_gives_what_inference_detector_gives(name: str, photographs: list[np.ndarray]) -> None:
    predictor = build(name, narrow(name))
    detector = reference(zoo_config(name, narrow(name)), predictor)
    assert len(predictor.classes) == 80
    images = small(photographs)
    for image, theirs in zip(images, inference_detector(detector, [bgr(i) for i in images]), strict=True):
        assert_same(predict(predictor, [image])[0], theirs, image, classes=80)
    # Images of one size are padded alike in a batch and alone.
    for image, ours in zip(pair := [images[0], images[0][::-1].copy()], predict(predictor, pair), strict=True):
        assert_same(ours, inference_detector(detector, bgr(image)), image, classes=80)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_gives_what_inference_detector_gives(name: str, photographs: list[np.ndarray]) -> None:
    size = (256, 256)
    predictor = build(name, {}, size)
    detector = reference(zoo_config(name, {}, size), predictor)
    image = small(photographs)[1]
    assert_same(predict(predictor, [image])[0], inference_detector(detector, bgr(image)), image, classes=80)


@pytest.mark.parametrize("name", WAYS)
def test_full_size_masks_are_made_in_postprocess_alone(name: str, photographs: list[np.ndarray]) -> None:
    image = small(photographs)[0]
    predictor = build(name, narrow(name))
    with torch.inference_mode():
        batch = predictor.preprocess([image])
        with SizesSeen() as in_forward:
            raw = predictor.forward(batch)
        with SizesSeen() as in_postprocess:
            first = predictor.postprocess(raw)[0]
        second = predictor.postprocess(raw)[0]
    assert predictor.mask_functions == ()
    assert image.shape[:2] not in in_forward.sizes
    assert image.shape[:2] in in_postprocess.sizes
    assert len(first) > 3
    for field in ("masks", "boxes", "scores", "labels"):
        assert torch.equal(getattr(first, field), getattr(second, field))


def test_rtmdet_makes_no_mask_of_the_input_s_size_before_postprocess(photographs: list[np.ndarray]) -> None:
    """The network's own tensors of that size are the image, of 3 channels, alone."""
    made = []

    class Made(SizesSeen):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = super().__torch_function__(func, types, args, kwargs)
            if isinstance(result, torch.Tensor) and result.ndim >= 3 and result.shape[-2:] == SIZE:
                made.append(result.shape[-3])
            return result

    predictor = build("rtmdet_ins_tiny", narrow("rtmdet_ins_tiny"))
    with torch.inference_mode(), Made():
        raw = predictor.forward(predictor.preprocess(small(photographs)[:1]))
    assert set(made) <= {3}
    assert len(predictor.postprocess(raw)[0]) == 100


def test_rtmdet_puts_the_image_into_the_upper_left_corner_of_a_grey_square(photographs: list[np.ndarray]) -> None:
    predictor = MmdetPredictor(
        Settings(CPU, config=config_of("rtmdet_ins_tiny")), cfg_options={"model": narrow("rtmdet_ins_tiny")}
    )
    for image in small(photographs):
        batch = predictor.preprocess([image])
        [pixels] = batch["inputs"]
        height, width = (round(edge * 640 / max(image.shape[:2])) for edge in image.shape[:2])
        assert predictor.input_size(batch) == pixels.shape[1:] == (640, 640)
        assert bool((pixels[:, height:] == 114).all())
        assert bool((pixels[:, :, width:] == 114).all())
        assert (pixels[:, :height, :width] == 114).float().mean() < 0.1


def test_images_without_instances_give_none(photographs: list[np.ndarray]) -> None:
    for name in WAYS:
        if "mask2former" not in name and "queryinst" not in name:  # no NMS, and as many as they may give
            predictor = build(name, narrow(name), score_threshold=1.1)
            for image, ours in zip(small(photographs), predict(predictor, small(photographs)), strict=True):
                ours.validate(*image.shape[:2], 80, 100)
                assert len(ours) == 0


def test_yolact_keeps_as_many_of_one_class_as_may_be_detected(photographs: list[np.ndarray]) -> None:
    """Its config keeps 200 of each class before NMS; an IoU of 1 suppresses nothing."""
    changes = {**narrow("yolact_r50"), "test_cfg": {"iou_thr": 1.0}}
    [instances] = predict(build("yolact_r50", changes, classes=("thing",), max_detections=250), small(photographs)[:1])
    assert len(instances) == 250


def test_queryinst_gives_its_best_and_refuses_more_than_it_has_queries(photographs: list[np.ndarray]) -> None:
    changes = narrow("queryinst_r50")
    every, few = (build("queryinst_r50", changes, max_detections=most) for most in (100, 7))
    image = small(photographs)[0]
    assert torch.equal(predict(few, [image])[0].scores, predict(every, [image])[0].scores[:7])
    with pytest.raises(UserError, match=r"max_detections=101: .* each of its 100 queries; give .*max_detections=100"):
        build("queryinst_r50", changes, max_detections=101)


def test_yolact_is_not_padded(photographs: list[np.ndarray]) -> None:
    """Its masks cover the whole input: padding of a square of 230 to one of 256 would shrink them by a tenth."""
    image = small(photographs)[0]
    plain, padded = (build("yolact_r50", narrow("yolact_r50"), (230, 230), pad_to=edge) for edge in (None, 230))
    assert padded.input_size(padded.preprocess([image])) == (230, 230)
    expected, actual = predict(plain, [image])[0], predict(padded, [image])[0]
    assert torch.equal(actual.masks, expected.masks)
    assert expected.masks.any()


def test_panoptic_weights_keep_their_stuff_and_random_ones_have_none(photographs: list[np.ndarray]) -> None:
    name, changes = "mask2former_swin_b", narrow("mask2former_swin_b")
    trained = build(name, changes)
    names = trained.classes
    assert trained.module.panoptic_head.cls_embed.out_features == 80 + 53 + 1
    expected = predict(trained, small(photographs)[:1])[0]
    assert len(expected) < 100  # the others of the best hundred are stuff
    weights = Checkpoint(trained.module.state_dict(), "zoo.pth")
    stuff = tuple(f"stuff {number}" for number in range(53))
    for classes in (names, names + stuff):
        loaded = build(name, changes, classes=classes, checkpoint=weights)
        assert loaded.classes == names
        assert torch.equal(predict(loaded, small(photographs)[:1])[0].scores, expected.scores)
    untrained = build(name, changes, classes=names)
    assert untrained.module.panoptic_head.cls_embed.out_features == 80 + 1
    assert len(predict(untrained, small(photographs)[:1])[0]) == 100


def test_yolact_s_published_weights_have_the_names_of_mmdet_2() -> None:
    changes = narrow("yolact_r50")
    state = build("yolact_r50", changes).module.state_dict()
    published = {name.replace("mask_head.segm_branch.", "segm_head."): value for name, value in state.items()}
    assert "segm_head.segm_conv.weight" in published
    loaded = build("yolact_r50", changes, checkpoint=Checkpoint(published, "yolact.pth"))
    name = "mask_head.segm_branch.segm_conv.weight"
    assert torch.equal(loaded.module.state_dict()[name], state[name])
    with pytest.raises(UserError, match=r"yolact.pth.*unexpected"):
        build(
            "yolact_r50", changes, checkpoint=Checkpoint({**published, "segm_head.other": torch.ones(1)}, "yolact.pth")
        )


def test_a_box_outside_of_the_image_has_the_empty_mask_that_a_gpu_pastes() -> None:
    """``skip_empty=False`` is how mmdet pastes on a GPU."""
    head = FCNMaskHead(num_convs=0, in_channels=4, conv_out_channels=4, num_classes=2)
    boxes = torch.tensor([[-50.0, 4, -20, 30], [4, -60, 30, -8], [90, 4, 130, 30], [4, 70, 30, 99], [-9, -9, 30, 30]])
    sample = DetDataSample(metainfo={"ori_shape": (30, 40), "scale_factor": (2.0, 2.0)})
    found = InstanceData(bboxes=boxes.clone(), labels=torch.tensor([0, 1, 0, 1, 0]), scores=torch.rand(5))
    logits = torch.randn(5, 2, 28, 28, generator=torch.Generator().manual_seed(0)) + 1

    def paste(instances: list[InstanceData]) -> list[InstanceData]:
        metas, test = [sample.metainfo], ConfigDict(mask_thr_binary=0.5)
        made: list[InstanceData] = head.predict_by_feat([logits], instances, metas, rcnn_test_cfg=test, rescale=True)
        return made

    [instances] = pasted(paste, [found], [sample])
    ours = logits.sigmoid()[range(5), found.labels][:, None]
    expected, _ = _do_paste_mask(ours, boxes / 2, 30, 40, skip_empty=False)
    assert torch.equal(instances.masks, expected >= 0.5)
    assert instances.masks.flatten(1).any(1).tolist() == [False, False, False, False, True]
    assert torch.equal(instances.bboxes, boxes / 2)


def test_a_detector_whose_masks_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(UserError, match=r"Linear has no mask head that maskbench knows.*give a config of another"):
        split_of(torch.nn.Linear(1, 1), None)
