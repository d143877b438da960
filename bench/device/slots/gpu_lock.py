"""A lock for each GPU, held across the commands of all users of the machine: two studies do not time on one card.

The files of the locks lie in one folder of the machine, :data:`FOLDER`, in which every user may make files and none may
remove those of another. So they stay there. A container with a ``/tmp`` of its own has locks of its own.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.device.slots.cards import Card, NoCardsError, cards
from bench.files.lock_file import LockFile, sign

VARIABLE = "MASKBENCH_GPU_LOCKS"
"""The variable of the environment that names another folder: one that all containers see which share the GPUs."""

FOLDER = Path("/tmp/maskbench-gpu-locks")
_FOR_ALL = 0o666


@contextlib.contextmanager
def gpus_locked(
    gpus: Mapping[str, str], tell: Callable[[str], None], *, wait: bool = True, command: str = ""
) -> Iterator[None]:
    """Hold the locks of GPUs for the ``with`` block; where the folder cannot be used, tell so and go on without.

    gpus: the name of each GPU for a person, by its UUID
    tell, wait, command: see :func:`bench.files.folder_lock.locked`

    They are taken in the order of the UUIDs, so that two commands never wait for each other.

    Raises:
        UserError: another process holds one of them, and ``wait`` is false.
    """
    folder = Path(os.environ.get(VARIABLE) or FOLDER)
    held: list[int] = []
    try:
        for uuid in sorted(gpus):
            lock = LockFile(folder / f"{uuid}.lock", gpus[uuid], gpus[uuid], "give other devices=", _opened)
            try:
                held.append(lock.acquire(tell, wait))
            except OSError as error:
                tell(f"{folder}: no lock of a GPU can be held there ({error.strerror}); another command may use it too")
                continue
            sign(held[-1], command)
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


def gpus_of(devices: Sequence[str]) -> dict[str, str]:
    """Give the GPUs that jobs on these devices (``cuda:0``, as CUDA numbers them) may use: names by UUIDs.

    CUDA puts the fastest GPU first, unless it is told otherwise, so that of unlike GPUs nobody knows the numbers: then
    these are all of them. Where NVML cannot be asked there are none.
    """
    numbers = {int(device.partition(":")[2] or 0) for device in devices if device.partition(":")[0] == "cuda"}
    if not numbers:
        return {}
    try:
        visible = [card for card in cards() if card.number is not None]
    except NoCardsError:
        return {}
    ordered = len({card.name for card in visible}) < 2 or os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    return {card.uuid: spoken(card) for card in visible if not ordered or card.number in numbers}


def spoken(card: Card) -> str:
    """Name a card for a person."""
    return f"the GPU cuda:{card.number} ({card.name}, {card.uuid[:12]})"


def _opened(path: Path) -> int:
    """Open the file of a lock, which may be another user's; make it, and the folder, where they are absent.

    A file that is there is opened without O_CREAT: Linux refuses that flag for another user's file in a folder like
    this one (fs.protected_regular). A link is not followed.
    """
    while True:
        for way in (os.O_RDWR, os.O_RDONLY):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                return os.open(path, way | os.O_NOFOLLOW)
        _make(path.parent)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FOR_ALL)
        except FileExistsError:
            if os.access(path, os.R_OK):
                continue  # another command was faster
            raise
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, _FOR_ALL)  # the umask has taken bits of it
        return descriptor


def _make(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        folder.chmod(stat.S_ISVTX | 0o777)  # mkdir's mode would lose the bits of the umask
