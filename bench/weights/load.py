"""Loading of trained weights into a :class:`bench.predictor.Checkpoint`, without running code from the file.

It reads safetensors, both formats of ``torch.save`` (mmdetection, torchvision, transformers, detectron2), and the plain
pickle of numpy arrays of detectron2's zoo. The content of a file decides how it is read, never its name.
:mod:`bench.weights.pickles` is what keeps a pickle from running code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch

from bench.errors import UserError
from bench.predictor import Checkpoint
from bench.weights.pickles import read_plain_pickle, read_torch

LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""``torch.serialization.MAGIC_NUMBER``, which stands first in a file that torch wrote before 1.6."""


def load_checkpoint(path: Path | str, allow_pickle: bool = False) -> Checkpoint:
    """Read trained weights. All tensors are on the CPU; DataParallel's prefix ``module.`` is removed from their names.

    The class names come from the key ``classes`` of the safetensors metadata (a JSON list) or from mmdetection's
    ``meta``. ``metadata`` holds the plain values (text, numbers) that stand beside the weights.

    Args:
        allow_pickle: let the file run its own code while it is read (``model.allow_pickle``).

    Raises:
        UserError: the file is absent, truncated or no checkpoint, a weight is NaN or infinite, or a pickle needs more
            than tensors and plain containers (none of its code has run then).
    """
    path = Path(path)
    head = _head(path)
    metadata: Mapping[str, Any] = {}
    if path.suffix == ".safetensors" or _begins_like_safetensors(head):
        data, metadata = _read_safetensors(path)
    elif head.startswith(b"PK") or LEGACY_MAGIC in head[:32]:
        data = read_torch(path, allow_pickle)
    elif head.startswith(b"\x80"):
        data = read_plain_pickle(path, allow_pickle)
    else:
        raise UserError(f"{path}: not a checkpoint ({_looks_like(head)}); give a .pth, .pkl or .safetensors file")
    weights, beside = _unwrap(data, path)
    metadata = metadata or beside
    return Checkpoint(
        state_dict=_state_dict(weights, path),
        path=str(path),
        classes=_classes(metadata, path),
        metadata={k: v for k, v in metadata.items() if isinstance(v, (str, int, float, bool))},
    )


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise UserError(f"{path}: cannot read the weights: {error.strerror or error}; correct model.weights") from error
    if not head:
        raise UserError(f"{path}: the file is empty; fetch the weights again")
    return head


def _begins_like_safetensors(head: bytes) -> bool:
    """Say whether a length of the header (eight bytes, at most 100 MB by the format) and a JSON object stand first."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000


def _looks_like(head: bytes) -> str:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page: the address leads to a page about the file, not to the file"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: run git lfs pull"
    return "a text file" if head.isascii() else "an unknown binary format"


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); fetch the weights again") from error


def _unwrap(data: Any, path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the mapping of names to weights inside of what was read, and what stands beside it."""
    beside: dict[str, Any] = {}
    if isinstance(data, Mapping):
        wrapper = next(
            (k for k in ("state_dict", "model") if isinstance(data.get(k), (Mapping, torch.nn.Module))), None
        )
        if wrapper:
            meta = data.get("meta")
            beside = dict(meta) if isinstance(meta, Mapping) else {k: v for k, v in data.items() if k != wrapper}
            data = data[wrapper]
    if isinstance(data, torch.nn.Module):
        data = data.state_dict()
    if not isinstance(data, Mapping) or not data:
        what = f"it holds {type(data).__name__}" if not isinstance(data, Mapping) else "it is empty"
        raise UserError(f"{path}: no weights found ({what}); give a file with a state_dict")
    return data, beside


def _state_dict(weights: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    strip = len("module.") if all(str(name).startswith("module.") for name in weights) else 0
    result = {}
    for name, value in weights.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UserError(
                f"{path}: {name!r} is {type(value).__name__}, not a tensor; give a file with a state_dict, alone "
                f"or under state_dict or model"
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UserError(f"{path}: parameter {name} holds NaN or infinity; these weights cannot be used")
        result[name[strip:]] = value.detach()
    return result


def _classes(metadata: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    """Return the class names; mmdet 2 writes meta.CLASSES, mmdet 3 meta.dataset_meta.CLASSES or .classes."""
    dataset = metadata.get("dataset_meta")
    names: Any = None
    for place in (metadata, dataset if isinstance(dataset, Mapping) else {}):
        names = names or place.get("CLASSES") or place.get("classes")
    if isinstance(names, str) and names.startswith("["):
        try:
            names = json.loads(names)
        except ValueError as error:
            raise UserError(f"{path}: metadata classes is not a JSON list ({error})") from error
    if isinstance(names, str):
        # In mmdet datasets of one class, ("balloon") without its comma is a common mistake.
        names = [names]
    if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None
