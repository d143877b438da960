"""Writing of checkpoints: an old file is replaced by a whole new one, or stays as it is."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from bench.errors import UserError
from bench.files.json_file import write_atomically


def write_weights(path: Path, state_dict: Mapping[str, torch.Tensor], metadata: Mapping[str, str], dtype: str) -> None:
    """Write weights as safetensors.

    With ``dtype`` fp16, matrices and kernels are written in half precision. Vectors (biases, normalisation and its
    statistics) stay float32: half precision would cost accuracy there and save little.

    Raises:
        UserError: a value is not finite or overflows fp16, or the file cannot be written; an older file at ``path``
            is left as it was.
    """
    tensors = {}
    for name, tensor in state_dict.items():
        value = tensor.detach().cpu()
        if value.is_floating_point():
            if not bool(torch.isfinite(value).all()):
                raise UserError(f"{path}: not written, parameter {name} holds NaN or infinity")
            if dtype == "fp16" and value.ndim > 1:
                value = value.half()
                if not bool(torch.isfinite(value).all()):
                    raise UserError(
                        f"{path}: not written, parameter {name} overflows fp16; give finetune.weights_dtype=fp32"
                    )
        tensors[name] = value.clone(memory_format=torch.contiguous_format)  # safetensors refuses shared memory
    write_bytes(path, safetensors.torch.save(tensors, dict(metadata)))


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what a training needs to go on; :func:`read_state` reads it.

    Raises:
        UserError: the file cannot be written; an older file at ``path`` is left as it was.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_bytes(path, buffer.getbuffer())


def read_state(path: Path) -> dict[str, Any]:
    """Read the state of a training that was stopped: plain containers and tensors only, on the CPU.

    Raises:
        UserError: the file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and the training begins anew") from error
    return state


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write the whole file or nothing, and flush it to the disk.

    Raises:
        UserError: the disk is full or read-only.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        kept = f"; the one written before is kept ({path.name})" if path.exists() else ""
        raise UserError(
            f"{path}: the checkpoint cannot be written ({error.strerror or error}){kept}; make room, and the same "
            f"command with the same out= goes on"
        ) from error
