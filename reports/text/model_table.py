"""Write the table of what is served, family by library, from the configurations of the models.

python -m reports.text.model_table [docs/models.md]; README.md has the same table.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bench.errors import UserError
from reports.text.in_readme import bring_up_to_date

CONFIGURATIONS = Path(__file__).resolve().parents[2] / "configs" / "model"

LIBRARIES = {
    "torchvision": "torchvision",
    "mmdet": "mmdet",
    "detectron2": "detectron2",
    "transformers": "transformers",
    "ultralytics": "ultralytics",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}
"""The libraries of the columns and their heads. PyTorch runs the networks of all but the last two."""

RUNTIMES = ("onnxruntime", "openvino")

LAYOUT_OF = {
    "Mask R-CNN": "torchvision",
    "Mask2Former": "queries",
    "RF-DETR": "rfdetr",
    "YOLO11": "yolo",
    "YOLO26": "yolo_end_to_end",
    "YOLOv8": "yolo",
}
"""For each family of which an ONNX file can be measured, the layout of the file's outputs (docs/runtimes.md)."""

HEAD = "| family | " + " | ".join(LIBRARIES.values()) + " |\n|" + " --- |" * (len(LIBRARIES) + 1) + "\n"


def model_table(folder: Path = CONFIGURATIONS) -> str:
    """Give one line of Markdown a family: the backbones or sizes that each library has, by rising published AP."""
    configurations = list(_configurations(folder))
    families = sorted({model["family"] for model in configurations if not _any_of_a_zoo(model)}, key=str.lower)
    lines = [[family, *(_cell(configurations, family, library) for library in LIBRARIES)] for family in families]
    zoos = {model["library"] for model in configurations if _any_of_a_zoo(model)}
    lines.append(["any other of the library's zoo", *("yes" if library in zoos else "" for library in LIBRARIES)])
    return HEAD + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def with_model_table(text: str) -> str:
    """Replace the table in the text by the present one.

    Raises:
        UserError: the text does not hold exactly one such table.
    """
    replaced, count = re.subn(r"\| family \|.*\n(?:\|.*\n)*", lambda _: model_table(), text)
    if count != 1:
        raise UserError(f"{count} tables of models, must be one; a table begins with {HEAD.splitlines()[0]!r}")
    return replaced


def _configurations(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.yaml")):
        model: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        if model.get("library") in LIBRARIES and model.get("family"):
            yield {**model, "demo": path.stem.startswith("demo_")}


def _any_of_a_zoo(model: dict[str, Any]) -> bool:
    return bool((model.get("zoo") or {}).get("lookup"))


def _cell(configurations: Sequence[dict[str, Any]], family: str, library: str) -> str:
    own = [m for m in configurations if (m["family"], m["library"]) == (family, library) and not _any_of_a_zoo(m)]
    full = sorted((m for m in own if not m["demo"]), key=_published_ap)
    counts = Counter(str(model.get("backbone") or "") for model in full)
    texts = [name if count == 1 else f"{name} ({count})" for name, count in counts.items()]
    if library in RUNTIMES and family in LAYOUT_OF:
        texts.append(f"file `{LAYOUT_OF[family]}`")
    return ", ".join([*texts, *(["demo"] if len(full) < len(own) else [])])


def _published_ap(model: dict[str, Any]) -> float:
    return float((model.get("published") or {}).get("mask_ap") or float("inf"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring a file's table of models up to date, and give the exit status."""
    return bring_up_to_date(with_model_table, arguments, "docs/models.md")


if __name__ == "__main__":
    sys.exit(main())
