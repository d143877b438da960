"""The checkouts of a gate between two commits: what each side may import, and the refusal of anything else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError
from bench.jobs.job import PlannedJob
from bench.jobs.start import Checkout


def head_checkout(repository: Path, tree: Path) -> Checkout:
    """Give the head's: the working tree of ``repository``; ``tree`` is the checkout of the base."""
    here = Path.cwd().resolve()
    return Checkout(str(repository), str(tree), _own_folders(here, repository), _python_path())


def base_checkout(repository: Path, tree: Path) -> Checkout:
    """Give the base's. An entry of ``PYTHONPATH`` inside the repository means the same folder of the base's checkout.

    A folder that the base lacks, such as an environment that git ignores, is taken from the working tree; code of the
    repository's own from there is then refused.
    """
    here = tree / Path.cwd().resolve().relative_to(repository)
    mapped = []
    for entry in _python_path():
        inside = Path(entry).is_relative_to(repository)
        there = tree / Path(entry).relative_to(repository) if inside else Path(entry)
        mapped.append(str(there) if there.exists() else entry)
    return Checkout(str(tree), str(repository), _own_folders(here, tree), mapped)


def refuse_strays(jobs: Sequence[PlannedJob], side: str) -> None:
    """Raise a UserError where a side's model would run code of the other side, as far as the check could see."""
    for job in jobs:
        try:
            if job.checkout is not None:
                job.checkout.refuse_strays(job.now.paths.values())
        except UserError as error:
            raise UserError(f"gate.base_ref: {side}: {error}") from error


def _own_folders(here: Path, checkout: Path) -> list[str]:
    """Give the folders that a side's own packages are in: those of ``here`` and of the checkout, each with its src."""
    folders = dict.fromkeys(place for folder in (here, checkout) for place in (folder, folder / "src"))
    return [str(folder) for folder in folders if folder.is_dir()]


def _python_path() -> list[str]:
    """Give the entries of ``PYTHONPATH`` as absolute paths without links."""
    return [str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
