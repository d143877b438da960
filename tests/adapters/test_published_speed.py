"""Test that the speeds that mmdetection publishes by our configurations are those of its metafiles."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIGURED = {
    path.stem: model
    for path in sorted((ROOT / "configs" / "model").glob("*_mmdet.yaml"))
    if "published" in (model := yaml.safe_load(path.read_text(encoding="utf-8")))
}
KEY = "inference time (ms/im)"


@pytest.fixture(scope="module")
def metafiles() -> dict[str, dict[str, Any]]:
    """Give what the metafiles say of each configuration, by its name."""
    found = importlib.util.find_spec("mmdet")
    if found is None or found.origin is None:
        pytest.skip("mmdet is not installed")
    models = {}
    for path in (Path(found.origin).parent / ".mim" / "configs").glob("*/metafile.yml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for model in content.get("Models") or () if isinstance(content, dict) else content:
            models[Path(model["Config"]).stem] = model | {"file": path.parent.name}
    return models


def test_some_configurations_have_a_published_speed() -> None:
    assert {name for name, model in CONFIGURED.items() if "speed" in model["published"]} == {
        *("mask_rcnn_r50_mmdet", "mask_rcnn_r101_mmdet", "htc_r50_mmdet", "yolact_r50_mmdet")
    }


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_speed_is_that_of_the_metafile(name: str, metafiles: dict[str, dict[str, Any]]) -> None:
    model, said = CONFIGURED[name], metafiles[CONFIGURED[name]["config"]]
    speed = model["published"].get("speed")
    entries = said["Metadata"].get(KEY)
    assert (speed is None) == (entries is None), "a speed is published and not taken over, or the other way round"
    if entries is None:
        return
    [entry] = entries
    assert speed["fps"] == pytest.approx(1000 / entry["value"], abs=0.05)
    assert f"configs/{said['file']}/metafile.yml, inference time {entry['value']} ms/im" in speed["source"]
    assert speed["hardware"] == entry["hardware"]
    assert speed["runtime"] == entry["backend"]
    assert speed["batch_size"] == entry["batch size"]
    assert speed["precision"] == entry["mode"].lower()
    assert speed["input_size"] == "x".join(entry["resolution"].strip("()").split(", "))
