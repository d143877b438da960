"""Compare the detectron2 adapter with ``detectron2.engine.DefaultPredictor`` on photographs, with the same weights."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from bench.errors import UserError
from bench.predictor import Checkpoint, Instances, Settings, predict

pytest.importorskip("detectron2", reason="detectron2 is not installed: docs/install.md says how")

from detectron2 import model_zoo
from detectron2.config import CfgNode, LazyConfig, get_cfg, instantiate
from detectron2.engine import DefaultPredictor
from detectron2.projects.point_rend import add_pointrend_config
from same_instances import assert_same_instances

from adapters.detectron2.predictor import Detectron2Predictor
from adapters.detectron2.zoo import MASK_AP, config_file, zoo_entry

ROOT = Path(__file__).resolve().parents[2]
DEMOS = ("demo_mask_rcnn_detectron2", "demo_point_rend_detectron2")
FULL_SIZE = ("mask_rcnn_r50_detectron2", "mask_rcnn_r101_detectron2", "point_rend_r50_detectron2")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images(photographs: list[np.ndarray]) -> list[np.ndarray]:
    """Give two photographs, one wide and one tall."""
    return photographs


def model_config(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "configs" / "model" / f"{name}.yaml").read_text())


def overrides(name: str, **cfg: Any) -> dict[str, Any]:
    """Give the config's own ``options.cfg`` with whole sections of the top level replaced."""
    return {**model_config(name).get("options", {}).get("cfg", {}), **cfg}


def build(name: str, seed: int = 0, cfg: Mapping[str, Any] | None = None, **settings: Any) -> Detectron2Predictor:
    torch.manual_seed(seed)
    own = Settings(device=CPU, config=model_config(name)["config"], **settings)
    return Detectron2Predictor(own, cfg=overrides(name) if cfg is None else cfg)


def reference(
    name: str, weights: Path, cfg: Mapping[str, Any] | None = None, threshold: float = 0.05, detections: int = 100
) -> DefaultPredictor:
    own = get_cfg()
    add_pointrend_config(own)
    own.merge_from_file(model_zoo.get_config_file(model_config(name)["config"]))
    own.merge_from_other_cfg(CfgNode(overrides(name) if cfg is None else dict(cfg)))
    own.MODEL.WEIGHTS = str(weights)
    own.MODEL.DEVICE = "cpu"
    own.MODEL.ROI_HEADS.SCORE_THRESH_TEST = threshold
    own.TEST.DETECTIONS_PER_IMAGE = detections
    return DefaultPredictor(own)


def save(predictor: Detectron2Predictor, folder: Path) -> Path:
    path = folder / "model.pth"
    torch.save({"model": predictor.module.state_dict()}, path)
    return path


def assert_same(ours: Instances, theirs: Any) -> None:
    assert theirs.pred_masks.any()
    assert_same_instances(ours, theirs.scores, theirs.pred_classes, theirs.pred_masks, theirs.pred_boxes.tensor)


@pytest.mark.parametrize("name", DEMOS)
def test_demo_agrees_with_default_predictor(name: str, images: list[np.ndarray], tmp_path: Path) -> None:
    predictor = build(name, score_threshold=0.001, max_detections=40)
    theirs = reference(name, save(predictor, tmp_path), threshold=0.001, detections=40)
    for image in images:
        (ours,) = predict(predictor, [image])
        ours.validate(*image.shape[:2], num_classes=80, max_detections=40)
        assert_same(ours, theirs(image[:, :, ::-1])["instances"])


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_agrees_with_default_predictor(name: str, images: list[np.ndarray], tmp_path: Path) -> None:
    small = {"INPUT": {"MIN_SIZE_TEST": 224, "MAX_SIZE_TEST": 320}}
    predictor = build(name, cfg=overrides(name, **small), score_threshold=0.001, max_detections=10)
    weights = save(predictor, tmp_path)
    theirs = reference(name, weights, cfg=overrides(name, **small), threshold=0.001, detections=10)
    (ours,) = predict(predictor, images[:1])
    assert_same(ours, theirs(images[0][:, :, ::-1])["instances"])


@pytest.mark.parametrize("name", DEMOS)
def test_batch_of_two_agrees_with_the_library_on_the_same_batch(
    name: str, images: list[np.ndarray], tmp_path: Path
) -> None:
    predictor = build(name, score_threshold=0.001, max_detections=20)
    theirs = reference(name, save(predictor, tmp_path), threshold=0.001, detections=20)
    inputs = []
    for image in images:
        bgr = image[:, :, ::-1]
        resized = theirs.aug.get_transform(bgr).apply_image(bgr).astype("float32").transpose(2, 0, 1)
        inputs.append({"image": torch.as_tensor(resized), "height": image.shape[0], "width": image.shape[1]})
    with torch.no_grad():
        expected = theirs.model(inputs)
        padded = theirs.model.preprocess_image(inputs).tensor.shape[-2:]
    ours = predict(predictor, images)
    assert len(ours) == 2
    for one, other in zip(ours, expected, strict=True):
        assert_same(one, other["instances"])
    assert predictor.input_size(predictor.preprocess(images)) == tuple(padded)


def test_postprocess_gives_the_same_twice(images: list[np.ndarray]) -> None:
    predictor = build(DEMOS[0], score_threshold=0.001, max_detections=20)
    with torch.inference_mode():
        raw = predictor.forward(predictor.preprocess(images[:1]))
        first, second = predictor.postprocess(raw)[0], predictor.postprocess(raw)[0]
    assert torch.equal(first.boxes, second.boxes)
    assert torch.equal(first.masks, second.masks)


def test_no_instances_is_an_empty_bool_tensor(images: list[np.ndarray]) -> None:
    predictor = build(DEMOS[0], score_threshold=1.0)
    (instances,) = predict(predictor, images[:1])
    assert len(instances) == 0
    instances.validate(*images[0].shape[:2], num_classes=80, max_detections=100)


@pytest.mark.parametrize("name", DEMOS)
def test_bf16_autocast_gives_float32_instances(name: str, images: list[np.ndarray]) -> None:
    predictor = build(name, score_threshold=0.001, max_detections=20)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (instances,) = predictor.postprocess(predictor.forward(predictor.preprocess(images[:1])))
    assert len(instances) > 0
    instances.validate(*images[0].shape[:2], num_classes=80, max_detections=20)


@pytest.mark.parametrize("name", DEMOS)
def test_demo_is_under_three_million_parameters_with_80_classes(name: str) -> None:
    predictor = build(name)
    assert len(predictor.classes) == 80
    assert sum(p.numel() for p in predictor.module.parameters()) < 3_000_000


def test_random_weights_are_seeded() -> None:
    first, again, other = (build(DEMOS[0], seed=seed).module.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize("name", DEMOS)
def test_classes_and_defaults(name: str) -> None:
    coco = build(name)
    assert (coco.classes[0], coco.classes[79]) == ("person", "toothbrush")
    assert coco.module.roi_heads.box_predictor.test_score_thresh == 0.05
    three = build(name, classes=("a", "b", "c"), score_threshold=0.0)
    assert three.classes == ("a", "b", "c")
    assert three.module.roi_heads.box_predictor.cls_score.out_features == 4
    assert (
        three.module.roi_heads.mask_head.state_dict()[
            "point_head.predictor.weight" if "point" in name else "predictor.weight"
        ].shape[0]
        == 3
    )
    assert three.module.roi_heads.box_predictor.test_score_thresh == 0.0


@pytest.mark.parametrize(
    ("roi_heads", "old_names"),
    [
        ("StandardROIHeads", {"mask_head.coarse_head.fc": "mask_head.coarse_head.coarse_mask_fc"}),
        (
            "PointRendROIHeads",
            {
                "mask_head.coarse_head.fc": "mask_coarse_head.coarse_mask_fc",
                "mask_head.coarse_head.": "mask_coarse_head.",
                "mask_head.point_head.": "mask_point_head.",
            },
        ),
    ],
)
def test_old_zoo_file_loads_as_the_library_loads_it(roi_heads: str, old_names: dict[str, str], tmp_path: Path) -> None:
    """The zoo's files are pickles of numpy arrays with older parameter names, anchors and pixel statistics."""
    name = DEMOS[1]
    old = {"proposal_generator.anchor_generator.cell_anchors.0": np.zeros((3, 4), np.float32)}
    old |= {"pixel_mean": np.zeros((3, 1, 1), np.float32), "pixel_std": np.ones((3, 1, 1), np.float32)}
    for key, tensor in build(name, seed=1).module.state_dict().items():
        for new, before in old_names.items():
            key = key.replace(new, before)
        old[key] = tensor.numpy()
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": old, "__author__": "test"}))
    cfg = overrides(name)
    cfg["MODEL"] = {**cfg["MODEL"], "ROI_HEADS": {"NAME": roi_heads}}
    theirs = reference(name, path, cfg=cfg).model.state_dict()

    checkpoint = Checkpoint({k: torch.as_tensor(v) for k, v in old.items()}, path=str(path))
    ours = build(name, checkpoint=checkpoint).module.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    random = build(name).module.state_dict()
    assert any(not torch.equal(ours[k], random[k]) for k in ours)


def test_checkpoint_of_another_architecture_is_refused() -> None:
    state = build(DEMOS[0]).module.state_dict()
    with pytest.raises(UserError, match=r"model\.pth.*missing"):
        build(DEMOS[1], checkpoint=Checkpoint(state, path="model.pth"))


def test_lazy_config_agrees_with_the_library(images: list[np.ndarray]) -> None:
    name = "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ.py"
    resize = {
        "_target_": "detectron2.data.transforms.ResizeShortestEdge",
        "short_edge_length": 224,
        "max_size": 320,
    }
    torch.manual_seed(0)
    predictor = Detectron2Predictor(
        Settings(device=CPU, config=name, score_threshold=0.001, max_detections=10),
        cfg={"dataloader": {"test": {"mapper": {"augmentations": [resize]}}}},
    )
    cfg = LazyConfig.load(model_zoo.get_config_file(name))
    cfg.model.roi_heads.box_predictor.test_score_thresh = 0.001
    cfg.model.roi_heads.box_predictor.test_topk_per_image = 10
    theirs = instantiate(cfg.model).eval()
    theirs.load_state_dict(predictor.module.state_dict())
    bgr = images[0][:, :, ::-1]
    resized = instantiate(resize).get_transform(bgr).apply_image(bgr).transpose(2, 0, 1)
    inputs = {"image": torch.as_tensor(resized.copy()), "height": bgr.shape[0], "width": bgr.shape[1]}
    with torch.no_grad():
        expected = theirs([inputs])[0]["instances"]
    assert_same(predict(predictor, images[:1])[0], expected)


@pytest.mark.parametrize(
    ("config", "cfg", "message"),
    [
        (None, {}, "model.config is not given"),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_4x.yaml", {}, "mask_rcnn_R_50_FPN_3x.yaml"),
        ("COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml", {}, "not an R-CNN with instance masks"),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml", {"MODEL": {"MASKS_ON": True}}, "MODEL.MASKS_ON"),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml", {"MODEL": {"MASK_ON": 7}}, "model.options.cfg"),
        (
            "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml",
            {"MODEL": {"ROI_HEADS": {"NUM_CLASSES": 3}}},
            "list them in model.classes",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(config: str | None, cfg: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        Detectron2Predictor(Settings(device=CPU, config=config), cfg=cfg)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", FULL_SIZE[:2])
def test_config_says_what_the_zoo_says(name: str) -> None:
    config = model_config(name)
    assert config["zoo"]["url"] == model_zoo.get_checkpoint_url(config["config"])
    entry = zoo_entry(config["config"])
    published = config["published"]
    assert entry == (
        config["family"],
        config["zoo"]["url"],
        published["mask_ap"],
        published["source"],
        config["backbone"],
    )


def test_zoo_entries() -> None:
    base = "https://dl.fbaipublicfiles.com/detectron2/"
    page = "https://github.com/facebookresearch/detectron2/blob/main/MODEL_ZOO.md"
    assert zoo_entry("COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x") == (
        "Mask R-CNN",
        base + "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x/139653917/model_final_2d9806.pkl",
        39.5,
        page,
        "X101-32x8d-FPN",
    )
    assert zoo_entry("Misc/cascade_mask_rcnn_R_50_FPN_3x.yaml").family == "Cascade Mask R-CNN"
    regnet = zoo_entry("COCO-InstanceSegmentation/mask_rcnn_regnetx_4gf_dds_fpn_1x.py")
    assert (regnet.url, regnet.mask_ap, regnet.backbone) == (None, None, "RegNetX-4GF-FPN")
    with pytest.raises(UserError, match="not an instance-segmentation model"):
        zoo_entry("COCO-Detection/retinanet_R_50_FPN_3x")
    for name in MASK_AP:
        assert Path(config_file(name)).is_file()
        assert zoo_entry(name).url is not None


def test_a_config_file_of_ones_own(tmp_path: Path) -> None:
    """A file from ``cfg.dump()`` holds every key, PointRend's included."""
    cfg = get_cfg()
    add_pointrend_config(cfg)
    cfg.merge_from_file(model_zoo.get_config_file(model_config(DEMOS[1])["config"]))
    cfg.merge_from_other_cfg(CfgNode(overrides(DEMOS[1])))
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.POINT_HEAD.NUM_CLASSES = 2
    path = tmp_path / "mine_R_50_FPN.yaml"
    path.write_text(cfg.dump())
    assert zoo_entry(str(path)) == ("PointRend", None, None, "", "R50-FPN")
    plain = get_cfg()
    plain.merge_from_file(model_zoo.get_config_file("Misc/mask_rcnn_R_50_FPN_3x_gn.yaml"))
    (tmp_path / "plain.yaml").write_text(plain.dump())
    assert zoo_entry(str(tmp_path / "plain.yaml")).family == "Mask R-CNN"
    predictor = Detectron2Predictor(Settings(device=CPU, config=str(path), classes=("a", "b")))
    checkpoint = Checkpoint(build(DEMOS[1], classes=("a", "b"), seed=1).module.state_dict(), path="model.pth")
    loaded = Detectron2Predictor(Settings(device=CPU, config=str(path), classes=("a", "b"), checkpoint=checkpoint))
    assert loaded.module.state_dict().keys() == predictor.module.state_dict().keys()
