"""The files of a viewer of masks, as the page takes them; this file imports nothing that draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Masks:
    """A script that hands the data of one dataset over, and the photographs that the data names."""

    script: Path
    photographs: tuple[Path, ...]
