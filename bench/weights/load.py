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

import safetensors
import torch

from bench.errors import UserError
from bench.predictor import Checkpoint
from bench.weights.form import begins_like_safetensors, check_form, is_torch, looks_like, read_head
from bench.weights.inert import FormError
from bench.weights.pickles import damaged, read_plain_pickle, read_torch
from bench.weights.tensors import state_dict


def load_checkpoint(path: Path | str, allow_pickle: bool = False) -> Checkpoint:
    """Read trained weights. All tensors are on the CPU; DataParallel's prefix ``module.`` is removed from their names.

    The class names come from the key ``classes`` of the safetensors metadata (a JSON list) or from mmdetection's
    ``meta``. ``metadata`` holds the plain values (text, numbers) that stand beside the weights.

    Args:
        allow_pickle: the file's author is trusted (``model.allow_pickle``): the file may run its own code while it is
            read, and may claim any size.

    Raises:
        UserError: the file is absent, truncated, no regular file or no checkpoint, it claims to hold more than it has,
            a weight is NaN or infinite, or a pickle needs more than tensors and plain containers (none of its code has
            run then).
    """
    path = Path(path)
    try:
        data, metadata = _read(path, _head(path), allow_pickle)
        weights, beside = _unwrap(data, path)
        metadata = metadata or beside
        most_bytes = None if allow_pickle else path.stat().st_size
        return Checkpoint(
            state_dict=state_dict(weights, path, most_bytes),
            path=str(path),
            classes=_classes(metadata, path),
            metadata={k: v for k, v in metadata.items() if isinstance(v, (str, int, float, bool))},
        )
    except UserError:
        raise
    except Exception as error:  # whatever a stranger's file can cause is one line
        raise damaged(path, f"{type(error).__name__}: {error}") from error


def _read(path: Path, head: bytes, allow_pickle: bool) -> tuple[Any, Mapping[str, Any]]:
    """Give what the file holds, and its metadata where the format has a place for it."""
    if path.suffix == ".safetensors" or begins_like_safetensors(head):
        return _read_safetensors(path)
    if not (is_torch(head) or head.startswith(b"\x80")):
        raise UserError(f"{path}: not a checkpoint ({looks_like(head)}); give a .pth, .pkl or .safetensors file")
    if not allow_pickle:
        try:
            check_form(path, head)
        except FormError as error:
            raise damaged(path, str(error)) from error
    return (read_torch if is_torch(head) else read_plain_pickle)(path, allow_pickle), {}


def _head(path: Path) -> bytes:
    try:
        return read_head(path)
    except FormError as error:
        remedy = "fetch the weights again" if "empty" in str(error) else "correct model.weights"
        raise UserError(f"{path}: {error}; {remedy}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot read the weights: {reason}; correct model.weights") from error


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); fetch the weights again") from error


def _unwrap(data: Any, path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the mapping of names to weights inside of what was read, and what stands beside it.

    A pickled network under ``ema`` is the mean of those of the last steps, which its library takes where it is there.
    """
    beside: dict[str, Any] = {}
    if isinstance(data, Mapping):
        wrapper = next(
            (k for k in ("state_dict", "model") if isinstance(data.get(k), (Mapping, torch.nn.Module))), None
        )
        if isinstance(data.get("ema"), torch.nn.Module):
            wrapper = "ema"
        if wrapper:
            meta = data.get("meta")
            beside = dict(meta) if isinstance(meta, Mapping) else {k: v for k, v in data.items() if k != wrapper}
            data = data[wrapper]
    if isinstance(data, torch.nn.Module):
        beside = {"classes": _names_of(data), **beside}
        data = data.state_dict()
    if not isinstance(data, Mapping) or not data:
        what = f"it holds {type(data).__name__}" if not isinstance(data, Mapping) else "it is empty"
        raise UserError(f"{path}: no weights found ({what}); give a file with a state_dict")
    return data, beside


def _names_of(module: torch.nn.Module) -> list[str] | None:
    """Return the class names that a pickled network carries as ``names``: a list, or a dict by label from 0 on."""
    names = getattr(module, "names", None)
    if isinstance(names, Mapping) and sorted(names) == list(range(len(names))):
        return [names[label] for label in range(len(names))]
    return list(names) if isinstance(names, (list, tuple)) else None


def _classes(metadata: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    """Return the class names; mmdet 2 writes meta.CLASSES, mmdet 3 meta.dataset_meta.CLASSES or .classes."""
    dataset = metadata.get("dataset_meta")
    names: Any = None
    for place in (metadata, dataset if isinstance(dataset, Mapping) else {}):
        names = names or place.get("CLASSES") or place.get("classes")
    if isinstance(names, str) and names.startswith("["):
        try:
            names = json.loads(names)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: metadata classes is not a JSON list ({error})") from error
    if isinstance(names, str):
        # In mmdet datasets of one class, ("balloon") without its comma is a common mistake.
        names = [names]
    if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None
