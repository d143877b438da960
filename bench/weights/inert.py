"""Reads the outline of a pickle without calling anything that it names, and so without torch.

It tells which storages a file of ``torch.save`` claims, and whether the file is large enough to hold them.
"""

from __future__ import annotations

import pickle
import pickletools
from dataclasses import dataclass
from typing import Any, BinaryIO

ITEM_BYTES = {
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    "ComplexDoubleStorage": 16,
}
"""Bytes of one element of torch's typed storages; it is one byte for every other name."""

ALLOCATING = frozenset(("builtins bytearray", "__builtin__ bytearray"))
"""Globals that torch's ``weights_only`` calls with any number, and that then fill so many bytes."""


class FormError(Exception):
    """A file is not what it claims to be. The message says how, and stands in brackets in a longer one."""


@dataclass(frozen=True)
class Storage:
    """A storage that a pickle of torch refers to: its name in the file, and the bytes that it claims to have."""

    key: str
    claimed_bytes: int


def check_opcodes(file: BinaryIO, file_bytes: int) -> None:
    """Read the opcodes of one pickle, up to its end, and refuse what only serves to exhaust the memory.

    Raises:
        FormError: it is cut off or no pickle, or it needs more memory than a file of ``file_bytes`` can be worth.
    """
    count = 0
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            # A reader keeps a list as long as the largest number here: honest pickles count from 0.
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(str(argument)) > count + 256:
                raise FormError(f"a pickle of {count} steps that asks for {argument} places in memory")
            if opcode.name == "GLOBAL" and argument in ALLOCATING:
                raise FormError(f"its pickle asks for {argument}, which weights do not need")
    except FormError:
        raise
    except Exception as error:
        raise FormError(f"the pickle in it is cut off or damaged after {count} steps") from error


def storages_of(file: BinaryIO) -> tuple[list[Storage], Any]:
    """Give the storages that the next pickle of the file claims, and the pickle's value with all objects dead.

    Check the opcodes of the same pickle first, with :func:`check_opcodes`.

    Raises:
        FormError: the pickle is damaged.
    """
    reader = _Outline(file)
    try:
        value = reader.load()
    except FormError:
        raise
    except Exception as error:
        raise FormError(f"the pickle in it is damaged: {type(error).__name__}") from error
    return list(reader.storages.values()), value


class _Dead:
    """Stands for whatever a pickle names. Nothing that the pickle does with it has an effect."""

    storage_name = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def __setstate__(self, state: Any) -> None: ...
    def __setitem__(self, key: Any, value: Any) -> None: ...
    def append(self, item: Any) -> None: ...
    def extend(self, items: Any) -> None: ...
    def add(self, item: Any) -> None: ...


class _Outline(pickle.Unpickler):
    """Collects the persistent ids of torch's storages; every global is a dead class of its own."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        return type("Dead", (_Dead,), {"storage_name": name})

    def persistent_load(self, pid: Any) -> Any:
        # ("storage", class, key, location, number of elements[, view]), see torch.serialization.
        if not (isinstance(pid, tuple) and len(pid) >= 5 and isinstance(pid[4], int) and pid[4] >= 0):
            raise FormError("a storage without a size")
        item_bytes = ITEM_BYTES.get(getattr(pid[1], "storage_name", ""), 1)
        key, claimed = str(pid[2]), pid[4] * item_bytes
        if key not in self.storages or self.storages[key].claimed_bytes < claimed:
            self.storages[key] = Storage(key, claimed)
        return _Dead()
