"""Look up checkpoints on the Hugging Face hub, or in a local folder of the hub's layout.

Importing this module imports neither transformers nor torch; :func:`zoo_entry` imports huggingface_hub for what is on
the hub, whose cache keeps the files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.errors import UserError, nearest
from bench.schema.config import ZooEntry

HUB = "https://huggingface.co"

NAMES = {
    "mask2former": "Mask2Former",
    "maskformer": "MaskFormer",
    "oneformer": "OneFormer",
    "eomt": "EoMT",
    "eomt_dinov3": "EoMT",
    "rf_detr": "RF-DETR",
    "conditional_detr": "Conditional DETR",
    "detr": "DETR",
}
"""The families as papers write them, by the ``model_type`` of a checkpoint's configuration."""

_RF_DETR = "README.md of github.com/roboflow/rf-detr, RF-DETR-Seg, COCO mask AP50:95"
_EOMT = "model_zoo/dinov2.md of github.com/tue-mps/eomt, COCO instance, by pycocotools"
_MASK2FORMER = "MODEL_ZOO.md of github.com/facebookresearch/Mask2Former, COCO instance"
PUBLISHED = {
    "Roboflow/rf-detr-seg-nano": (40.3, _RF_DETR),
    "Roboflow/rf-detr-seg-small": (43.1, _RF_DETR),
    "Roboflow/rf-detr-seg-medium": (45.3, _RF_DETR),
    "Roboflow/rf-detr-seg-large": (47.1, _RF_DETR),
    "Roboflow/rf-detr-seg-xlarge": (48.8, _RF_DETR),
    "Roboflow/rf-detr-seg-xxlarge": (49.9, _RF_DETR),
    "tue-mps/coco_instance_eomt_large_640": (45.2, _EOMT),
    "tue-mps/coco_instance_eomt_large_1280": (48.8, _EOMT),
    "facebook/mask2former-swin-tiny-coco-instance": (45.0, _MASK2FORMER),
    "shi-labs/oneformer_coco_swin_large": (49.0, "README.md of github.com/SHI-Labs/OneFormer, COCO"),
}
"""Mask AP on COCO val2017 in points, and where it stands, by the id on the hub."""


def zoo_entry(name: str) -> ZooEntry:
    """Give what is published for a checkpoint: an id on the hub (``owner/name``) or a folder of the hub's layout.

    A folder's weights have no address; ``model.weights`` names its file.

    Raises:
        UserError: there is no such checkpoint, or it is of no instance-segmentation class of transformers.
        ModuleNotFoundError: huggingface_hub, which comes with transformers, is not installed.
    """
    family = NAMES[model_type(name, read_json(name, "config.json"))]
    mask_ap, source = PUBLISHED.get(name, (None, ""))
    url = None if Path(name).is_dir() else f"{HUB}/{name}/resolve/main/{_weights_file(name)}"
    return ZooEntry(family, url, mask_ap, source, "")


def model_type(name: str, config: dict[str, Any]) -> str:
    """Give the type of a checkpoint's configuration, one of :data:`NAMES`.

    Raises:
        UserError: it is none of them, or the checkpoint is of a class that gives no masks.
    """
    kind = str(config.get("model_type"))
    if kind not in NAMES:
        raise UserError(
            f"model.config={name}: its config.json has model_type={kind}, which has no instance segmentation in "
            f"transformers; {nearest(kind, NAMES)}"
        )
    heads = [str(head) for head in config.get("architectures") or []]
    if heads and not any("Segmentation" in head for head in heads):
        raise UserError(
            f"model.config={name}: its config.json has architectures={heads[0]}, which gives no masks; give a "
            f"checkpoint of a class For...Segmentation"
        )
    return kind


def read_json(name: str, file: str, needed: bool = True) -> dict[str, Any]:
    """Read a JSON file of a checkpoint, from its folder or through the hub's cache.

    needed: False gives an empty dictionary where the checkpoint has no such file

    Raises:
        UserError: it cannot be had or read.
    """
    path = Path(name) / file if Path(name).is_dir() else _from_hub(name, file, needed)
    if path is None or not path.is_file():
        if needed:
            raise UserError(f"model.config={name}: the folder has no {file}; give a folder of the hub's layout")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); fetch the checkpoint again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, must be an object; fetch the checkpoint again")
    return content


def _from_hub(name: str, file: str, needed: bool) -> Path | None:
    """Give the path of a file of the hub in its cache; None where the checkpoint lacks one that is not needed."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(
            f"model.config={name}: neither a folder nor an id on the hub; give owner/name, such as "
            f"model.config=Roboflow/rf-detr-seg-nano"
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, file))
    except Exception as error:  # httpx's errors among them, and what the hub refuses
        if not needed and isinstance(error, (EntryNotFoundError, LocalEntryNotFoundError)):
            return None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"model.config={name}: {file} cannot be had from the hub ({reason}); correct the id, or give the folder of "
            f"a checkpoint on this machine"
        ) from error


def _weights_file(name: str) -> str:
    """Give the name of the weights file on the hub: safetensors, but where the hub says that there is none."""
    from huggingface_hub import file_exists

    try:
        return "model.safetensors" if file_exists(name, "model.safetensors") else "pytorch_model.bin"
    except Exception:  # without network the address is still the likeliest one
        return "model.safetensors"
