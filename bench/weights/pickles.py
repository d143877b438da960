"""Reading of pickled weights in a way that lets no code from the file run.

A file that needs more than tensors, arrays and plain containers is refused in one line, with the switch that allows it.
"""

from __future__ import annotations

import contextlib
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.errors import UserError

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
"""What training scripts pickle beside the weights: mmengine its log (``message_hub``) and best scores (``hook_msgs``),
torchvision's references their arguments. They are of no use here, so each is read as an object that keeps nothing and
does nothing."""


class _Inert:
    """Stands for one of :data:`INERT_GLOBALS`. Whatever the pickle does with it has no effect."""

    def __new__(cls, *args: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _NumpyUnpickler(pickle.Unpickler):
    """Reads dicts, lists, strings, numbers and numpy arrays. It refuses any other global before it looks it up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NUMPY_GLOBALS:
            raise _RefusedGlobalError(f"{module}.{name}")
        return _NUMPY_GLOBALS[module, name]


class _RefusedGlobalError(Exception):
    """A pickle asks for a global that plain weights do not need. The message is the full name of the global."""


def _numpy_globals() -> dict[tuple[str, str], Any]:
    """Return what the pickle of an array names, by module and name.

    Two functions are taken from such a pickle itself, since their module is another one from numpy 2 on.
    """
    reconstruct, scalar = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _latin1,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed[module, "_reconstruct"] = reconstruct
        allowed[module, "scalar"] = scalar
    return allowed


def _latin1(text: str, encoding: str) -> bytes:
    """Read bytes as Python 3 pickles them by protocol 2; ``codecs.encode`` itself would reach every codec."""
    if encoding != "latin1":
        raise _RefusedGlobalError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


_NUMPY_GLOBALS = _numpy_globals()


def read_torch(path: Path, allow_pickle: bool) -> Any:
    """Read what ``torch.save`` wrote, all tensors on the CPU.

    Raises:
        UserError: the file is damaged, or needs code that ``allow_pickle`` does not allow.
    """
    if not allow_pickle:
        return _guarded(path, lambda: _load_weights_only(path))
    return _guarded(path, lambda: torch.load(path, map_location="cpu", weights_only=False))


def _load_weights_only(path: Path) -> Any:
    with _inert_globals():
        return torch.load(path, map_location="cpu", weights_only=True)


@contextlib.contextmanager
def _inert_globals() -> Iterator[None]:
    """Let ``weights_only`` accept :data:`INERT_GLOBALS`; torch 2.4 has no context ``safe_globals`` yet."""
    # A copy, since torch 2.4 returns the very list that it changes later.
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


def read_plain_pickle(path: Path, allow_pickle: bool) -> Any:
    """Read detectron2's ``.pkl`` (``DetectionCheckpointer._load_file``), which Python 2 wrote, and so in latin1.

    Raises:
        UserError: as :func:`read_torch`.
    """

    def read() -> Any:
        with open(path, "rb") as file:
            return (pickle.Unpickler if allow_pickle else _NumpyUnpickler)(file, encoding="latin1").load()

    return _guarded(path, read)


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    """Call ``read``, and turn every exception that a damaged or refused file causes into a UserError of one line."""
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
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            raise _refusal(path, refused[1]) from error
        cause = re.search(r"WeightsUnpickler error:\s*(.*)", str(error))
        if cause and zipfile.is_zipfile(path):
            raise UserError(
                f"{path}: torch.load with weights_only=True cannot read it ({cause[1]}); save it anew with torch.save, "
                f"or, where you trust its author, give model.allow_pickle=true"
            ) from error
        raise damaged(path, cause[1] if cause else str(error)) from error
    except Exception as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error


def _refusal(path: Path, full_name: str) -> UserError:
    return UserError(
        f"{path}: the pickle asks for {full_name}, which is code and not weights, so it was not read; "
        f"where you trust its author, model.allow_pickle=true lets it run"
    )


def damaged(path: Path, cause: str) -> UserError:
    """Give the error for a file that is cut off, damaged or something else; ``cause`` says in what way."""
    with open(path, "rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip and not zipfile.is_zipfile(path):
        return UserError(f"{path}: the file is truncated (a zip archive without its end); fetch the weights again")
    lines = cause.strip().splitlines() or ["no reason given"]
    return UserError(f"{path}: truncated, damaged or not a checkpoint ({lines[0][:200]}); fetch the weights again")
