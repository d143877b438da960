"""Who measures a job of a shared folder of results: a claim is a file that one process alone can make.

It says which Slurm job holds it. It holds nothing once Slurm no longer knows that job, whatever became of it; the next
one is then made under the next number. None is ever removed, so that two who find the same claim expired cannot both
take its place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from bench.files.json_file import write_text_atomically


@dataclass(frozen=True)
class Claim:
    """A claim: the Slurm job that holds it (``12_3`` in an array), how often that was restarted, its node, and when."""

    owner: str
    restarts: int
    node: str
    time: str

    @classmethod
    def of_this_process(cls) -> Claim:
        """Give the claim of this process, which Slurm has started."""
        array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
        owner = f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return cls(owner, int(os.environ.get("SLURM_RESTART_COUNT", "0")), platform.node(), now)


def claim(folder: Path, name: str, mine: Claim, alive: Callable[[str], bool]) -> Claim | None:
    """Claim a job; give None where it is ours now, else the claim of who has it.

    alive: tells whether a Slurm job runs or waits to run; one that cannot be told must count as alive
    """
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        number, newest = _newest(folder, name)
        if newest is not None and not _expired(newest, mine, alive):
            return newest
        if _made(folder / f"{name}.{number + 1}.json", mine):
            return None


def holder(folder: Path, name: str) -> Claim | None:
    """Give the newest claim of a job, whether or not it has expired; None without any."""
    return _newest(folder, name)[1]


def _newest(folder: Path, name: str) -> tuple[int, Claim | None]:
    numbers = [
        int(number)
        for path in folder.glob(f"{glob_escaped(name)}.*.json")
        if (number := path.name[len(name) + 1 : -len(".json")]).isdigit()
    ]
    if not numbers:
        return -1, None
    newest = max(numbers)
    return newest, Claim(**json.loads((folder / f"{name}.{newest}.json").read_text(encoding="utf-8")))


def glob_escaped(name: str) -> str:
    """Give a pattern that matches a name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _expired(claim: Claim, mine: Claim, alive: Callable[[str], bool]) -> bool:
    if claim.owner == mine.owner:  # the same Slurm job before it was put back into the queue
        return claim.restarts < mine.restarts
    return not alive(claim.owner)


def _made(path: Path, mine: Claim) -> bool:
    """Make the file of a claim, with its content; tell whether it was this process that made it.

    A link is made or not, on every shared file system, and nobody sees the file before it is written.
    """
    written = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    write_text_atomically(written, json.dumps(dataclasses.asdict(mine)))
    try:
        os.link(written, path)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(OSError):
            written.unlink()
    return True
