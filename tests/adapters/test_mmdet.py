"""Compare the mmdet adapter with mmdet's own ``inference_detector`` and ``test_step``, on photographs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("mmdet", reason="mmdet is not installed")
pytest.importorskip("mmcv.ops", reason="mmcv has no compiled ops")

from mmcv.transforms import Compose
from mmdet.apis import inference_detector
from mmdet.utils import get_test_pipeline_cfg
from mmdet_reference import SizesSeen, assert_same, bgr, give_it_something_to_say, reference
from mmengine.config import Config

from adapters.mmdet.predictor import MmdetPredictor
from adapters.mmdet.zoo import config_path, configs_folder, zoo_entry
from bench.errors import UserError
from bench.predictor import Checkpoint, Settings, predict

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "configs" / "model"
SHAPES = ("circle", "square", "triangle", "star", "ring", "bar")
DEMOS = ("demo_mask_rcnn", "demo_point_rend", "demo_solo", "demo_solov2", "demo_mask2former")
FULL_SIZE = sorted(
    path.stem.removesuffix("_mmdet") for path in MODELS.glob("*_mmdet.yaml") if not path.stem.startswith("demo_")
)
CPU = torch.device("cpu")


def model_config(name: str) -> dict[str, Any]:
    return yaml.safe_load((MODELS / f"{name}_mmdet.yaml").read_text(encoding="utf-8"))


def build(name: str, seed: int = 0, options: dict[str, Any] | None = None, **settings: Any) -> MmdetPredictor:
    config = model_config(name)
    settings = {"classes": SHAPES, "config": config["config"], **settings}
    torch.manual_seed(seed)
    return MmdetPredictor(Settings(CPU, **settings), **{**config.get("options", {}), **(options or {})})


def demo(name: str, **settings: Any) -> MmdetPredictor:
    threshold = None if "solo" in name else 0.0
    return give_it_something_to_say(build(name, **{"score_threshold": threshold, **settings}))


@pytest.mark.parametrize("name", DEMOS)
def test_demo_gives_what_inference_detector_gives(name: str, photographs: list[np.ndarray]) -> None:
    predictor = demo(name)
    detector = reference(predictor.config, predictor)
    singles = inference_detector(detector, [bgr(image) for image in photographs])
    for image, theirs in zip(photographs, singles, strict=True):
        assert_same(predict(predictor, [image])[0], theirs, image)

    # Images of one size are padded alike in a batch and alone.
    pair = [photographs[0], np.ascontiguousarray(photographs[0][::-1])]
    for image, ours in zip(pair, predict(predictor, pair), strict=True):
        assert_same(ours, inference_detector(detector, bgr(image)), image)

    # Others are padded to the largest: mmdet's evaluation loop (test_step) does the same.
    steps = get_test_pipeline_cfg(predictor.config.copy())
    steps[0].type = "LoadImageFromNDArray"
    packed = [Compose(steps)({"img": bgr(image), "img_id": 0}) for image in photographs]
    with torch.no_grad():
        theirs = detector.test_step({key: [p[key] for p in packed] for key in ("inputs", "data_samples")})
    for image, ours, sample in zip(photographs, predict(predictor, photographs), theirs, strict=True):
        assert_same(ours, sample, image)


@pytest.mark.parametrize(
    ("name", "threshold", "changes"),
    [
        ("mask_rcnn_r50", 0.0, {"model.test_cfg.rcnn.score_thr": 0.0}),
        ("solov2_light_r50", None, {}),
    ],
)
def test_full_size_gives_what_inference_detector_gives(
    name: str, threshold: float | None, changes: dict[str, Any], photographs: list[np.ndarray]
) -> None:
    config = model_config(name)
    torch.manual_seed(0)
    settings = Settings(CPU, config=config["config"], score_threshold=threshold)
    predictor = give_it_something_to_say(MmdetPredictor(settings, scale=(320, 256)))
    assert predictor.classes[0] == "person"
    assert len(predictor.classes) == 80

    own = Config.fromfile(str(next(configs_folder().glob(f"*/{config['config']}.py"))))
    own.merge_from_dict({**changes, "test_dataloader.dataset.pipeline.1.scale": (320, 256)})
    image = photographs[0]
    theirs = inference_detector(reference(own, predictor), bgr(image))
    assert_same(predict(predictor, [image])[0], theirs, image, classes=80)


@pytest.mark.parametrize("name", DEMOS)
def test_untrained_demo_is_saturated_at_threshold_zero(name: str, photographs: list[np.ndarray]) -> None:
    predictor = build(name, score_threshold=0.0)
    for image, instances in zip(photographs, predict(predictor, photographs), strict=True):
        instances.validate(*image.shape[:2], len(SHAPES), 100)
        assert len(instances) == 100


@pytest.mark.parametrize("name", DEMOS)
def test_full_size_masks_are_made_in_postprocess_alone(name: str, photographs: list[np.ndarray]) -> None:
    image = photographs[0][:-3, :-5]
    predictor = demo(name)
    with torch.inference_mode():
        batch = predictor.preprocess([image])
        with SizesSeen() as in_forward:
            raw = predictor.forward(batch)
        with SizesSeen() as in_postprocess:
            first = predictor.postprocess(raw)[0]
        second = predictor.postprocess(raw)[0]
    assert image.shape[:2] not in in_forward.sizes
    assert image.shape[:2] in in_postprocess.sizes
    assert torch.equal(first.boxes, second.boxes)
    assert torch.equal(first.masks, second.masks)


@pytest.mark.parametrize("name", DEMOS)
def test_demo_is_small(name: str) -> None:
    predictor = build(name, classes=tuple(str(n) for n in range(80)))
    assert sum(p.numel() for p in predictor.module.parameters()) < 3_000_000
    batch = predictor.preprocess([np.zeros((200, 240, 3), np.uint8)])
    # 200x240 grows 1.44-fold to lie within (384, 288), 1.92-fold within SOLOv2's (512, 384), 2.4-fold within SOLO's
    # (640, 480), padded to multiples of 32.
    larger = {"demo_solov2": ((384, 461), (384, 480)), "demo_solo": ((480, 576), (480, 576))}
    inside, padded = larger.get(name, ((288, 346), (288, 352)))
    assert tuple(batch["inputs"][0].shape) == (3, *inside)
    assert predictor.input_size(batch) == padded


@pytest.mark.parametrize("name", DEMOS)
def test_demo_runs_in_bf16(name: str, photographs: list[np.ndarray]) -> None:
    # Small images: a processor without instructions for bf16 takes 13 times as long as in fp32.
    predictor = demo(name, options={"scale": (192, 192)})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = predict(predictor, photographs)
    for image, instances in zip(photographs, predictions, strict=True):
        instances.validate(*image.shape[:2], len(SHAPES), 100)
        assert len(instances) > 0


@pytest.mark.parametrize("name", ["demo_mask_rcnn", "demo_solo", "demo_mask2former"])
def test_boxes_hold_their_masks_and_limits_are_kept(name: str, photographs: list[np.ndarray]) -> None:
    image = photographs[0]
    every = predict(demo(name), [image])[0]
    few = predict(demo(name, max_detections=5), [image])[0]
    assert len(few) == 5
    torch.testing.assert_close(few.scores, every.scores[:5])
    middle = float(every.scores[0] + every.scores[-1]) / 2
    if "solo" not in name:  # SOLO's threshold also decides which masks suppress which
        above = predict(demo(name, score_threshold=middle), [image])[0]
        assert torch.equal(above.scores, every.scores[every.scores > middle])
    if name != "demo_mask_rcnn":  # there the box is the detector's own
        for mask, box in zip(every.masks, every.boxes.tolist(), strict=True):
            ys, xs = np.nonzero(mask.numpy())
            expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0.0] * 4
            np.testing.assert_allclose(box, expected, atol=1 if name == "demo_mask2former" else 0)


def test_checkpoint_is_loaded(photographs: list[np.ndarray]) -> None:
    trained = build("demo_mask_rcnn", seed=1, score_threshold=0.0)
    checkpoint = Checkpoint(trained.module.state_dict(), "trained.pth")
    loaded = build("demo_mask_rcnn", seed=2, score_threshold=0.0, checkpoint=checkpoint)
    ours, theirs = predict(loaded, photographs[:1])[0], predict(trained, photographs[:1])[0]
    assert torch.equal(ours.scores, theirs.scores)
    with pytest.raises(UserError, match=r"trained.pth.*of another shape"):
        build("demo_mask_rcnn", classes=SHAPES[:3], checkpoint=checkpoint)


def metafile_entry(config: str) -> dict[str, Any]:
    for path in configs_folder().glob("*/metafile.yml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for model in content.get("Models", []) if isinstance(content, dict) else content:
            if str(model.get("Config")).endswith(f"/{config}.py"):
                return {**model, "folder": path.parent.name}
    raise AssertionError(f"{config} is in no metafile")


@pytest.mark.parametrize("name", FULL_SIZE)
def test_published_figures_are_the_metafile_s(name: str) -> None:
    config = model_config(name)
    entry = metafile_entry(config["config"])
    task = next(r for r in entry["Results"] if r["Task"] == "Instance Segmentation")
    assert config["family"] == entry["In Collection"]
    assert config["zoo"]["url"] == entry["Weights"]
    assert entry["Weights"].endswith(f"-{config['zoo']['sha256']}.pth")
    assert config["published"]["mask_ap"] == task["Metrics"]["mask AP"]
    assert config["published"]["source"].endswith(f"configs/{entry['folder']}/metafile.yml")


def test_zoo_entry() -> None:
    entry = zoo_entry("cascade-mask-rcnn_r50_fpn_1x_coco")
    assert entry.family == "Cascade R-CNN"
    assert entry.backbone == "R50-FPN"
    assert entry.mask_ap == 35.9
    assert entry.url is not None
    assert entry.url.endswith("cascade_mask_rcnn_r50_fpn_1x_coco_20200203-9d4dcb24.pth")
    assert entry.source.endswith("mmdetection/blob/main/configs/cascade_rcnn/metafile.yml")
    # The metafile's name for mask-rcnn_r50_fpn_ms-poly-3x_coco.py, and a folder whose name is escaped in it.
    assert zoo_entry("mask-rcnn_r50_fpn_mstrain-poly_3x_coco").mask_ap == 37.1
    assert zoo_entry("mask-rcnn_r101_fpn_gn-ws-all_2x_coco").mask_ap == 37.7
    # 25.0 on LVIS is no COCO figure.
    assert zoo_entry("mask-rcnn_r50_fpn_random_seesaw_loss_mstrain_2x_lvis_v1").mask_ap is None


def test_a_config_file_of_ones_own_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "crowd_r50_fpn.py").write_text("")
    assert zoo_entry(str(tmp_path / "crowd_r50_fpn.py")) == ("crowd_r50_fpn", None, None, "", "R50-FPN")


def test_zoo_lookup_imports_neither_mmdet_nor_torch() -> None:
    code = (
        "import sys; from adapters.mmdet.zoo import zoo_entry; zoo_entry('solo_r50_fpn_3x_coco');"
        "print(sorted({'torch', 'mmdet', 'mmcv', 'mmengine'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_wrong_config_names_are_told() -> None:
    with pytest.raises(UserError, match=r"model.config=solov2_r50_fpn_1x: .*did you mean.*solov2_r50_fpn_1x_coco"):
        config_path("solov2_r50_fpn_1x")
    with pytest.raises(UserError, match=r"model.config=faster-rcnn_r50_fpn_1x_coco: .*Object Detection"):
        zoo_entry("faster-rcnn_r50_fpn_1x_coco")
    for name in ("faster-rcnn_r50_fpn_1x_coco", "panoptic-fpn_r50_fpn_1x_coco"):
        with pytest.raises(UserError, match="not an instance-segmentation config"):
            MmdetPredictor(Settings(CPU, config=name))
