"""The weights inside of a checkpoint: each is checked to be a tensor of finite numbers that the file really holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.errors import UserError


def state_dict(weights: Mapping[str, Any], path: Path, most_bytes: int | None) -> dict[str, torch.Tensor]:
    """Give the weights as tensors on the CPU; DataParallel's prefix ``module.`` is removed from their names.

    most_bytes: how many bytes the weights may have together; None for any number. What several names share counts once

    Raises:
        UserError: a value is no tensor, the weights have more than ``most_bytes``, or one holds NaN or infinity.
    """
    strip = len("module.") if all(str(name).startswith("module.") for name in weights) else 0
    held, result = _Held(path, most_bytes), {}
    for name, value in weights.items():
        shown = repr(name)[:100]
        tensor = held.tensor(value, shown)
        if not isinstance(name, str) or tensor is None:
            raise UserError(
                f"{path}: {shown} is {type(value).__name__}, not a tensor; give a file with a state_dict, alone "
                f"or under state_dict or model"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{path}: parameter {name[:100]} holds NaN or infinity; these weights cannot be used")
        result[name[strip:]] = tensor.detach()
    return result


class _Held:
    """Makes tensors of what a file holds, and counts their bytes before any of them is copied or looked at."""

    def __init__(self, path: Path, most_bytes: int | None) -> None:
        self._path, self._most = path, most_bytes
        self._bytes = 0
        self._storages: set[int] = set()
        self._arrays: dict[int, torch.Tensor] = {}

    def tensor(self, value: object, shown: str) -> torch.Tensor | None:
        """Give a value as a tensor; None where it is none. A numpy array is copied, once for all of its names."""
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            if id(value) not in self._arrays:
                self._count(value.nbytes, shown)
                native = np.array(value, value.dtype.newbyteorder("="), order="C")
                self._arrays[id(value)] = torch.from_numpy(native)
            return self._arrays[id(value)]
        if not isinstance(value, torch.Tensor):
            return None
        if value.layout != torch.strided or value.device.type != "cpu":
            raise UserError(
                f"{self._path}: {shown} is a tensor without plain values ({value.layout}, {value.device}); save the "
                f"weights as plain tensors"
            )
        storage = value.untyped_storage()
        if storage.data_ptr() not in self._storages:
            self._storages.add(storage.data_ptr())
            self._count(storage.nbytes(), shown)
        # A tensor can have more elements than its storage: all of them are then the same few.
        if self._most is not None and value.numel() * value.element_size() > self._most:
            self._refuse(value.numel() * value.element_size(), shown)
        return value

    def _count(self, more: int, shown: str) -> None:
        self._bytes += more
        if self._most is not None and self._bytes > self._most:
            self._refuse(self._bytes, shown)

    def _refuse(self, claimed: int, shown: str) -> None:
        raise UserError(
            f"{self._path}: with {shown} the weights claim {claimed} bytes, the file has {self._most}; where you trust "
            f"its author, give model.allow_pickle=true"
        )
