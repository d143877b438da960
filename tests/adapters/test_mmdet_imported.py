"""Test that a worker of mmdet leaves out the libraries that no model of ours uses, and nobody else lacks them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mmdet", reason="mmdet is not installed")
from adapters.mmdet.imported import hidden

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = ("transformers", "sklearn")

BUILT = """
import json, sys
import torch
from bench.data.dataset import load
from bench.jobs.worker.load_model import build_predictor
from run_bench import compose

[job] = compose(["model=demo_mask2former_mmdet", "model.weights=random", "device=cpu"])
predictor = build_predictor(job.config, load(job.config.dataset), torch.device("cpu"), None)
before = [name for name in ("transformers", "sklearn") if name in sys.modules]
from transformers import BertConfig
from sklearn.mixture import GaussianMixture
print(json.dumps([before, BertConfig().model_type, GaussianMixture(2).n_components]))
"""


@pytest.mark.skipif(any(importlib.util.find_spec(name) is None for name in LEFT_OUT), reason="one is not installed")
def test_a_model_is_built_without_them_and_they_can_be_imported_after_it(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUILT], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [[], "bert", 2]


def test_only_what_is_not_there_yet_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with hidden("this", "json"):
        assert sys.modules["json"] is json
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("this")
    assert "this" not in sys.modules
    with pytest.raises(ValueError, match="within"), hidden("this"):
        raise ValueError("within")
    assert "this" not in sys.modules
    assert sys.modules["json"] is json
