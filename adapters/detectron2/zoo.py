"""Look up configs in detectron2's model zoo: the file, the URL of the weights, and the published mask AP.

Importing this module imports neither detectron2 nor torch; :func:`zoo_entry` imports detectron2 when it is called.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path

from bench.errors import UserError, nearest
from bench.schema.config import ZooEntry

SOURCE = "https://github.com/facebookresearch/detectron2/blob/main/MODEL_ZOO.md"

MASK_AP = {
    "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x": 32.2,
    "COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_1x": 34.2,
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x": 35.2,
    "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_3x": 34.4,
    "COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_3x": 35.9,
    "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x": 37.2,
    "COCO-InstanceSegmentation/mask_rcnn_R_101_C4_3x": 36.7,
    "COCO-InstanceSegmentation/mask_rcnn_R_101_DC5_3x": 37.3,
    "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x": 38.6,
    "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x": 39.5,
    "new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ": 40.3,
    "new_baselines/mask_rcnn_R_50_FPN_200ep_LSJ": 41.7,
    "new_baselines/mask_rcnn_R_50_FPN_400ep_LSJ": 42.5,
    "new_baselines/mask_rcnn_R_101_FPN_100ep_LSJ": 41.6,
    "new_baselines/mask_rcnn_R_101_FPN_200ep_LSJ": 43.1,
    "new_baselines/mask_rcnn_R_101_FPN_400ep_LSJ": 43.7,
    "new_baselines/mask_rcnn_regnetx_4gf_dds_FPN_100ep_LSJ": 41.3,
    "new_baselines/mask_rcnn_regnetx_4gf_dds_FPN_200ep_LSJ": 43.1,
    "new_baselines/mask_rcnn_regnetx_4gf_dds_FPN_400ep_LSJ": 43.5,
    "new_baselines/mask_rcnn_regnety_4gf_dds_FPN_100ep_LSJ": 41.6,
    "new_baselines/mask_rcnn_regnety_4gf_dds_FPN_200ep_LSJ": 43.0,
    "new_baselines/mask_rcnn_regnety_4gf_dds_FPN_400ep_LSJ": 43.3,
    "Misc/mask_rcnn_R_50_FPN_1x_dconv_c3-c5": 37.5,
    "Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5": 38.5,
    "Misc/cascade_mask_rcnn_R_50_FPN_1x": 36.4,
    "Misc/cascade_mask_rcnn_R_50_FPN_3x": 38.5,
    "Misc/mask_rcnn_R_50_FPN_3x_gn": 38.6,
    "Misc/mask_rcnn_R_50_FPN_3x_syncbn": 37.8,
    "Misc/scratch_mask_rcnn_R_50_FPN_3x_gn": 36.6,
    "Misc/scratch_mask_rcnn_R_50_FPN_9x_gn": 39.6,
    "Misc/scratch_mask_rcnn_R_50_FPN_9x_syncbn": 39.3,
    "Misc/cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv": 44.0,
}
"""Mask AP on COCO val2017 in points, as :data:`SOURCE` states it; the package itself does not carry the figures."""


def zoo_entry(name: str) -> ZooEntry:
    """Give what detectron2 publishes for an instance-segmentation config of its zoo (``detectron2.model_zoo``).

    For a config file of the user's own, family and backbone are read from its text and name.

    Raises:
        UserError: the zoo has no such config, or it is not an instance-segmentation model.
        ModuleNotFoundError: detectron2 is not installed.
    """
    root = _zoo_root()
    path = Path(config_file(name))
    if not path.is_relative_to(root):
        return ZooEntry(_family(path.read_text(encoding="utf-8")), None, None, "", _backbone(path.stem))
    key = path.relative_to(root).with_suffix("").as_posix()
    if "mask_rcnn" not in key:
        raise UserError(f"model.config={name}: not an instance-segmentation model; {nearest(key, _mask_configs(root))}")
    with warnings.catch_warnings():
        # Its deprecation warnings are for its authors, not for the user at the terminal.
        warnings.simplefilter("ignore")
        from detectron2 import model_zoo
    try:
        url = model_zoo.get_checkpoint_url(key)
    except RuntimeError:
        url = None
    return ZooEntry(_family(key), url, MASK_AP.get(key), SOURCE, _backbone(key))


def config_file(name: str) -> str:
    """Give the path of a config.

    ``name`` is a file of the user's own (``.yaml``, or ``.py`` for a lazy config), or a config of the zoo with or
    without its extension.

    Raises:
        UserError: neither exists; the message names the nearest of the zoo.
        ModuleNotFoundError: detectron2 is not installed.
    """
    if name.endswith((".yaml", ".yml", ".py")) and Path(name).is_file():
        return str(Path(name).resolve())
    root = _zoo_root()
    for suffix in ("", ".yaml", ".py"):
        path = root / (name + suffix)
        if path.is_file():
            return str(path)
    raise UserError(
        f"model.config={name}: neither a file nor a config of detectron2's model zoo; "
        f"{nearest(name, _mask_configs(root))}"
    )


def _zoo_root() -> Path:
    """Give the folder of the package's configs, without importing the package, which would import torch."""
    spec = importlib.util.find_spec("detectron2")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'detectron2'", name="detectron2")
    return Path(spec.submodule_search_locations[0]).resolve() / "model_zoo" / "configs"


def _mask_configs(root: Path) -> list[str]:
    return [p.relative_to(root).as_posix() for p in root.glob("*/*mask_rcnn*") if p.suffix in (".yaml", ".py")]


def _family(text: str) -> str:
    if "PointRend" in text:
        return "PointRend"
    return "Cascade Mask R-CNN" if "cascade_mask" in text or "CascadeROIHeads" in text else "Mask R-CNN"


def _backbone(key: str) -> str:
    if match := re.search(r"_([RX])_(\d+)(_32x8d)?_(FPN|C4|DC5)", key):
        letter, depth, groups, neck = match.groups()
        return f"{letter}{depth}{(groups or '').replace('_', '-')}-{neck}"
    if match := re.search(r"regnet([xy])_(\d+)gf", key):
        return f"RegNet{match[1].upper()}-{match[2]}GF-FPN"
    return ""
