"""Look up configs in mmdetection's model zoo, without importing the package.

mmdet carries every config and metafile of its zoo (``mmdet/.mim/configs/**``); a metafile lists weights and figures.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from bench.errors import UserError, nearest
from bench.schema.config import ZooEntry

_SOURCE = "https://github.com/open-mmlab/mmdetection/blob/main/configs"
_SCHEDULE = re.compile(r"\d+x\d*$|\d+xb|ms-|coco|lvis|\d+e$|poly|amp|lsj|ssj|8x|mstrain|fp16|instaboost")
_BACKBONE = re.compile(r"(r|x|s|dq?)\d|hrnet|swin|regnet|res2net|convnext|pvt|tiny|s$|m$|l$|x$")


def configs_folder() -> Path:
    """Give the folder of mmdet's configs, in the installed package or in a checkout of the repository.

    Raises:
        ModuleNotFoundError: mmdet is not installed.
    """
    spec = importlib.util.find_spec("mmdet")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'mmdet'", name="mmdet")
    package = Path(spec.origin).parent
    folders = (package / ".mim" / "configs", package.parent / "configs")
    return next((f for f in folders if f.is_dir()), folders[0])


def config_path(name: str) -> Path:
    """Give the config file called ``name``: a file's name without ``.py``, a name in a metafile, or a path.

    Raises:
        UserError: there is none; the message names the nearest.
        ModuleNotFoundError: mmdet is not installed.
    """
    if name.endswith(".py") and Path(name).is_file():
        return Path(name)
    folder = configs_folder()
    files = {p.stem: p for p in sorted(folder.glob("*/*.py")) if not p.parent.name.startswith("_")}
    stem = Path(name).name.removesuffix(".py")
    if stem in files:
        return files[stem]
    for metafile in sorted(folder.glob("*/metafile.yml")):
        if re.search(rf"Name: {re.escape(name)}\s*$", metafile.read_text(encoding="utf-8"), re.MULTILINE):
            for model in _models(metafile):
                if model["Name"] == name and (metafile.parent / _config_file(model)).is_file():
                    return metafile.parent / _config_file(model)
    raise UserError(f"model.config={name}: mmdet has no config of this name; {nearest(stem, files)}")


def zoo_entry(name: str) -> ZooEntry:
    """Give what the zoo publishes for an instance-segmentation config; its source is the URL of the metafile.

    For a config file of the user's own, the family is the file's name without ``.py``, and nothing is published.

    Raises:
        UserError: mmdet has no such config, or publishes it for another task.
        ModuleNotFoundError: mmdet is not installed.
    """
    path = config_path(name)
    metafile = path.parent / "metafile.yml"
    source = f"{_SOURCE}/{path.parent.name}/metafile.yml"
    known = _models(metafile) if metafile.is_file() else []
    # Two entries may share a config (the fp16 schedules): the one called by the name asked for comes first.
    models = sorted((m for m in known if _config_file(m) == path.name), key=lambda m: m["Name"] != name)
    if not models and not path.resolve().is_relative_to(configs_folder().resolve()):
        return ZooEntry(path.stem, None, None, "", _backbone(path.stem))
    if not models:
        return ZooEntry(path.parent.name, None, None, source, _backbone(path.stem))
    model = models[0]
    results = [r for r in model.get("Results") or [] if r["Task"] == "Instance Segmentation"]
    if not results:
        tasks = ", ".join(sorted(r["Task"] for r in model.get("Results") or [])) or "nothing"
        raise UserError(f"model.config={name}: not an instance-segmentation config, mmdet publishes it for {tasks}")
    on_coco = [r["Metrics"].get("mask AP") for r in results if r["Dataset"] == "COCO"]
    mask_ap = float(on_coco[0]) if on_coco and on_coco[0] is not None else None
    return ZooEntry(model["In Collection"], model.get("Weights"), mask_ap, source, _backbone(path.stem))


def _models(metafile: Path) -> list[dict[str, Any]]:
    import yaml  # type: ignore[import-untyped]

    content = yaml.safe_load(metafile.read_text(encoding="utf-8"))
    models = content.get("Models") if isinstance(content, dict) else content
    return [m for m in models or [] if m.get("Config")]


def _config_file(model: dict[str, Any]) -> str:
    return unquote(model["Config"]).rsplit("/", 1)[-1]


def _backbone(stem: str) -> str:
    """Read the backbone from the name of a file: ``mask-rcnn_r50-caffe_fpn_1x_coco`` gives ``R50-caffe-FPN``."""
    tokens = stem.split("_")
    start = next((i for i, t in enumerate(tokens) if i > 0 and _BACKBONE.match(t)), None)
    if start is None:
        return ""
    word = tokens[start][:1].upper() + tokens[start][1:]
    neck = tokens[start + 1] if start + 1 < len(tokens) else ""
    return f"{word}-FPN" if neck.startswith("fpn") else word
