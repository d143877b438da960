"""Test that the weights in weights/ are what their configurations and weights/README.md say."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from bench.data.classes import match_labels
from bench.data.dataset import load
from bench.jobs.worker.load_model import build_predictor
from bench.passes import accuracy
from bench.passes.runner import Runner
from bench.schema.config import BenchConfig
from bench.weights.load import load_checkpoint
from run_bench import compose

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = sorted((ROOT / "weights").glob("*.safetensors"))
EXPECTING = sorted(
    path.stem for path in (ROOT / "configs" / "model").glob("demo_*.yaml") if "\nexpected:" in path.read_text()
)
MODULES = {name: name for name in ("torchvision", "mmdet", "transformers", "detectron2", "onnxruntime")}


def composed(name: str) -> BenchConfig:
    return compose([f"model={name}", "study=demo", "device=cpu", "detections=thresholded"])[0].config


def table(number: int) -> list[list[str]]:
    """Give the rows of a table of weights/README.md: name, command, seed, minutes, machine, in table 1 also commit."""
    lines = (ROOT / "weights" / "README.md").read_text().split("| begun as |")[number].splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| demo_")]


def cells_of(metadata: Mapping[str, str]) -> list[str]:
    """Give command, seed, minutes and machine as the tables write them."""
    minutes = float(metadata["training_seconds"]) / 60
    cpu = json.loads(metadata["machine"])["cpu"]["name"]
    return [f"`{metadata['command']}`", metadata["seed"], f"{minutes:.0f}", cpu]


def test_the_onnx_file_has_the_weights_of_the_model_that_it_was_exported_from() -> None:
    """Of the layers that have no BatchNorm, whose scale an export folds into the convolution before it."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    file = ROOT / "weights" / "demo_mask_rcnn_onnx.onnx"
    assert file.stat().st_size < 3e6
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(str(file)).graph.initializer}
    own = load_checkpoint(ROOT / "weights" / "demo_mask_rcnn_torchvision.safetensors").state_dict
    for name in ("roi_heads.mask_predictor.mask_fcn_logits", "rpn.head.cls_logits", "roi_heads.box_head.3"):
        kernel = stored[f"module.{name}.weight_stored_in_fp16"]
        assert kernel.dtype == "float16"
        assert torch.equal(torch.from_numpy(kernel.copy()), own[f"{name}.weight"].half())


def test_every_file_belongs_to_a_model_that_says_what_it_reaches() -> None:
    assert {path.stem for path in WEIGHTS} <= set(EXPECTING)
    assert WEIGHTS


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_a_file_is_small_half_precision_and_says_how_it_was_made(path: Path) -> None:
    assert path.stat().st_size < 6e6
    checkpoint = load_checkpoint(path)
    assert checkpoint.classes == ("circle", "square", "triangle", "star", "ring", "bar")
    assert {t.dtype for t in checkpoint.state_dict.values() if t.is_floating_point() and t.ndim > 1} == {torch.float16}
    assert checkpoint.metadata["dataset"] == "shapes train"
    command = checkpoint.metadata["command"]
    assert command.startswith("python run_bench.py ")
    start = re.fullmatch(r"scratch|\d+ of \d+ tensors of (\w+\.safetensors)", checkpoint.metadata["start"])
    assert start is not None
    if other := start[1]:
        assert f"finetune.start=partial model.weights=weights/{other} " in command
        assert (ROOT / "weights" / other).exists()
    assert [path.stem, *cells_of(checkpoint.metadata)] in table(0)


def test_a_file_that_went_on_from_itself_has_its_beginning_in_the_second_table() -> None:
    went_on = {p.stem for p in WEIGHTS if f" model.weights=weights/{p.name} " in load_checkpoint(p).metadata["command"]}
    assert went_on == {row[0] for row in table(1)}


@pytest.mark.parametrize("row", table(1), ids=lambda row: f"{row[0]}-{row[-1]}")
def test_an_earlier_file_is_in_the_history_as_the_second_table_says(row: list[str], tmp_path: Path) -> None:
    name, *cells, commit = row
    shown = subprocess.run(
        ["git", "-C", str(ROOT), "show", f"{commit}:weights/{name}.safetensors"], capture_output=True, check=False
    )
    if shown.returncode:
        pytest.skip(f"commit {commit} is not in this clone: {shown.stderr.decode().strip()}")
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(shown.stdout)
    assert cells == cells_of(load_checkpoint(path).metadata)


@pytest.mark.parametrize("name", EXPECTING)
def test_the_weights_reach_the_mask_ap_that_their_configuration_says(name: str) -> None:
    config = composed(name)
    if importlib.util.find_spec(MODULES[config.model.library]) is None:
        pytest.skip(f"{config.model.library} is not installed")
    dataset, device = load(config.dataset), torch.device("cpu")
    predictor = build_predictor(config, dataset, device, str(ROOT / config.model.weights))
    labels = match_labels(dataset, predictor.classes, {})
    figures = accuracy.mask_ap_of(Runner(predictor, device, "fp32"), dataset, labels, config)
    expected = config.model.expected["shapes"]
    assert expected.tolerance <= 1.0
    assert 100 * figures["mask_ap"] == pytest.approx(expected.mask_ap, abs=expected.tolerance)
