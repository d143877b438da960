"""``--config-dir``: a folder of the user's own configurations, beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.errors import UserError
from bench.schema.typed.overrides import GROUPS, kinds


def seen_by_hydra(folder: Path, links: Path) -> Path:
    """Give the folder that Hydra searches in place of the user's.

    Hydra takes ``out=...`` for the choice of a file wherever the folder holds a folder ``out``, as one does that holds
    results. Hydra then gets the new folder ``links``, with a link to everything but such folders.

    Raises:
        UserError: the folder does not exist.
    """
    if not folder.is_dir():
        raise UserError(f"--config-dir={folder}: no such folder")
    entries = list(folder.resolve().iterdir())
    mistaken = [entry for entry in entries if entry.is_dir() and entry.name in kinds() and entry.name not in GROUPS]
    if not mistaken:
        return folder
    links.mkdir()
    for entry in entries:
        if entry not in mistaken:
            (links / entry.name).symlink_to(entry)
    return links


def check_names(folder: Path, ours: Path, chosen: Iterable[Mapping[str, str]]) -> None:
    """Raise a UserError for a chosen option that both the user's folder and ours have; Hydra would take ours.

    chosen: for each job, the chosen option of each group
    """
    for choices in chosen:
        for group, option in choices.items():
            theirs, of_ours = (place / group / f"{option}.yaml" for place in (folder, ours))
            if theirs.is_file() and of_ours.is_file() and not theirs.samefile(of_ours):
                raise UserError(f"{group}={option}: {theirs} has the name of an option of maskbench; give it another")
