"""Trained weights from disk into a :class:`bench.predictor.Checkpoint`, without running code from the file.

Read are safetensors, ``torch.save`` in both its formats (mmdetection, torchvision, transformers, detectron2), and the
detectron2 zoo's plain pickle of numpy arrays. Which library wrote a file is seen from what it holds, never from its
name.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch

from bench.errors import UserError
from bench.predictor import Checkpoint

LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""``torch.serialization.MAGIC_NUMBER``: the first thing pickled in torch's format before 1.6."""

INERT_GLOBALS = (
    "_codecs.encode",
    "argparse.Namespace",
    "builtins.getattr",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
)
"""What training scripts pickle beside the weights: mmengine its log (``message_hub``) and best scores
(``hook_msgs``), torchvision's references their arguments. They are of no use here, so each is read as an object that
keeps nothing and does nothing."""


class _Inert:
    """Stands for one of :data:`INERT_GLOBALS`; whatever the pickle does with it has no effect."""

    def __new__(cls, *args: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _NumpyUnpickler(pickle.Unpickler):
    """Reads dicts, lists, strings, numbers and numpy arrays; any other global is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NUMPY_GLOBALS:
            raise _RefusedGlobalError(f"{module}.{name}")
        return _NUMPY_GLOBALS[module, name]


class _RefusedGlobalError(Exception):
    """A pickle asks for a global that plain weights do not need; the message is its full name."""


def _numpy_globals() -> dict[tuple[str, str], Any]:
    """The functions numpy names in the pickle of an array, taken from such a pickle: their module moved in numpy 2."""
    reconstruct, scalar = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    found: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _latin1,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        found[module, "_reconstruct"] = reconstruct
        found[module, "scalar"] = scalar
    return found


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 spells bytes in a pickle of protocol 2; ``codecs.encode`` itself reaches every codec."""
    if encoding != "latin1":
        raise _RefusedGlobalError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


_NUMPY_GLOBALS = _numpy_globals()


def load_checkpoint(path: Path | str, allow_pickle: bool = False) -> Checkpoint:
    """Read trained weights; all tensors lie on the CPU, ``module.`` of DataParallel is taken off their names.

    The class names come from the safetensors metadata key ``classes`` (a JSON list) or from mmdetection's ``meta``.
    ``metadata`` holds the plain values (text, numbers) that stand beside the weights.

    Args:
        allow_pickle: let the file run its own code while it is read (``model.allow_pickle``).

    Raises:
        UserError: no file, truncated, not a checkpoint, NaN or infinity among the weights, or a pickle that needs
            more than tensors and plain containers (nothing of it has run then).
    """
    path = Path(path)
    head = _head(path)
    metadata: Mapping[str, Any] = {}
    if path.suffix == ".safetensors" or _begins_like_safetensors(head):
        data, metadata = _read_safetensors(path)
    elif head.startswith(b"PK") or LEGACY_MAGIC in head[:32]:
        data = _read_torch(path, allow_pickle)
    elif head.startswith(b"\x80"):
        data = _read_plain_pickle(path, allow_pickle)
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
    """Eight bytes of header length, then the header, a JSON object (the safetensors format's own limit is 100 MB)."""
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


def _read_torch(path: Path, allow_pickle: bool) -> Any:
    if not allow_pickle:
        return _guarded(path, lambda: _load_weights_only(path))
    return _guarded(path, lambda: torch.load(path, map_location="cpu", weights_only=False))


def _load_weights_only(path: Path) -> Any:
    with _inert_globals():
        return torch.load(path, map_location="cpu", weights_only=True)


@contextlib.contextmanager
def _inert_globals() -> Iterator[None]:
    """Let ``weights_only`` pass :data:`INERT_GLOBALS`; torch 2.4 has no ``safe_globals`` context yet."""
    # A copy: torch 2.4 hands out the list that it goes on to change.
    before = list(torch.serialization.get_safe_globals())
    stubs: list[Any] = []
    for full_name in INERT_GLOBALS:
        module, _, name = full_name.rpartition(".")
        stubs.append(type(name, (_Inert,), {"__module__": module, "__qualname__": name}))
    torch.serialization.add_safe_globals(stubs)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _read_plain_pickle(path: Path, allow_pickle: bool) -> Any:
    """detectron2's ``.pkl`` (``DetectionCheckpointer._load_file``): written by Python 2, hence latin1."""

    def read() -> Any:
        with open(path, "rb") as file:
            return (pickle.Unpickler if allow_pickle else _NumpyUnpickler)(file, encoding="latin1").load()

    return _guarded(path, read)


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    """Call ``read`` and turn whatever a damaged or refused file makes it raise into one line."""
    try:
        return read()
    except _RefusedGlobalError as error:
        raise _refusal(path, str(error)) from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"{path}: the pickle needs the module {error.name}, which is not installed; "
            f"save the state_dict alone, as tensors"
        ) from error
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise _refusal(path, found[1]) from error
        cause = re.search(r"WeightsUnpickler error:\s*(.*)", str(error))
        if cause and zipfile.is_zipfile(path):
            raise UserError(
                f"{path}: torch.load with weights_only=True cannot read it ({cause[1]}); save it anew with torch.save, "
                f"or, where you trust its author, give model.allow_pickle=true"
            ) from error
        raise _damaged(path, cause[1] if cause else str(error)) from error
    except Exception as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def _refusal(path: Path, full_name: str) -> UserError:
    return UserError(
        f"{path}: the pickle asks for {full_name}, which is code and not weights, so it was not read; "
        f"where you trust its author, model.allow_pickle=true lets it run"
    )


def _damaged(path: Path, cause: str) -> UserError:
    with open(path, "rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip and not zipfile.is_zipfile(path):
        return UserError(f"{path}: the file is truncated (a zip archive without its end); fetch the weights again")
    lines = cause.strip().splitlines() or ["no reason given"]
    return UserError(f"{path}: truncated, damaged or not a checkpoint ({lines[0][:200]}); fetch the weights again")


def _unwrap(data: Any, path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The mapping of names to weights inside what was read, and what stands beside it."""
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
    """mmdet 2 spells meta.CLASSES, mmdet 3 meta.dataset_meta.CLASSES or .classes."""
    dataset = metadata.get("dataset_meta")
    found: Any = None
    for place in (metadata, dataset if isinstance(dataset, Mapping) else {}):
        found = found or place.get("CLASSES") or place.get("classes")
    if isinstance(found, str) and found.startswith("["):
        try:
            found = json.loads(found)
        except ValueError as error:
            raise UserError(f"{path}: metadata classes is not a JSON list ({error})") from error
    if isinstance(found, str):
        # ("balloon") without its comma is a common slip in mmdet datasets of one class.
        found = [found]
    if isinstance(found, (list, tuple)) and found and all(isinstance(name, str) for name in found):
        return tuple(found)
    return None
