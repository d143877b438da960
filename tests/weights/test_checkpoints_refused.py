"""Trained weights that do not suit the data set, or cannot be used: exit 2, one line, before any model runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from omegaconf import OmegaConf

pytest.importorskip("torchvision", reason="torchvision is not installed")

from adapters.torchvision.predictor import TorchvisionPredictor
from bench.predictor import Settings

ROOT = Path(__file__).resolve().parents[2]
DEMO = "demo_mask_rcnn_torchvision"


def write_demo(path: Path, classes: Sequence[str], overflow: str | None = None) -> None:
    """An fp16 checkpoint of the demo model, with its class names beside the weights.

    overflow: the parameter that gets a value which fp16 cannot hold.
    """
    options = OmegaConf.load(ROOT / "configs" / "model" / f"{DEMO}.yaml").options
    state = TorchvisionPredictor(Settings(torch.device("cpu"), classes=tuple(classes)), **options).module.state_dict()
    if overflow is not None:
        state[overflow].view(-1)[3] = 70_000.0
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    safetensors.torch.save_file(halves, path, metadata={"classes": json.dumps(list(classes))})


def refusal(done: Any) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("maskbench: ")
    return line


def test_classes_of_the_checkpoint_that_the_data_set_spells_otherwise(
    run_here: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "trained.safetensors"
    write_demo(path, ["circle", "rectangel", "star"])
    out = tmp_path / "out"
    line = refusal(run_here(f"model={DEMO}", f"model.weights={path}", f"out={out}", *bright_squares))
    assert "1 of 1 categories with annotations match no class of the model: 'rectangle'" in line
    assert "dataset.aliases" in line
    assert "did you mean rectangel?" in line
    assert not out.exists()


def test_fp16_overflow_names_the_parameter(run_here: Any, bright_squares: list[str], tmp_path: Path) -> None:
    path = tmp_path / "trained.safetensors"
    parameter = "roi_heads.box_head.3.weight"
    write_demo(path, ["rectangle"], overflow=parameter)
    line = refusal(run_here(f"model={DEMO}", f"model.weights={path}", *bright_squares))
    assert f"{path}: parameter {parameter} holds NaN or infinity" in line
