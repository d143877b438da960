"""Small YOLO sets on disk."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

TRIANGLE = "0.1 0.1 0.5 0.1 0.5 0.5"

YAML = "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n"


def write_set(folder: Path, files: dict[str, str | tuple[int, int]], yaml: str = YAML) -> Path:
    """Write texts, and PNG images of a size (width, height), by their names; gives the path of ``data.yaml``."""
    for name, content in {**files, "data.yaml": yaml}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        else:
            Image.new("RGB", content, (90, 10, 200)).save(path)
    return folder / "data.yaml"


def plain(folder: Path, yaml: str = YAML, labels: str = f"1 {TRIANGLE}\n") -> Path:
    """Write a set of one image to train on and two to measure, a.png with ``labels`` and b.png without objects."""
    files: dict[str, str | tuple[int, int]] = {
        **{"images/train/t.png": (40, 20), "images/val/a.png": (40, 20), "images/val/b.png": (30, 30)},
        **{"labels/train/t.txt": f"0 {TRIANGLE}\n", "labels/val/a.txt": labels, "labels/val/b.txt": ""},
    }
    return write_set(folder, files, yaml)
