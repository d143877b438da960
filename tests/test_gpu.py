"""Test what only a GPU can show; all is skipped where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contexts import context_of
from PIL import Image
from toy_models import Blobs

from bench.data.dataset import CocoDataset
from bench.data.images import ImageRecord
from bench.device.gpu_memory import DeviceMemory
from bench.passes.memory import PASS
from bench.predictor import Settings
from bench.schema.parts.costs import MemoryResult
from bench.schema.result import read_result

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


NEED = 1 << 30


class Hungry(Blobs):
    """A predictor with a tensor of exactly 1 GiB on the GPU while the model runs."""

    def forward(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        torch.ones(NEED, dtype=torch.uint8, device=self.device)
        return super().forward(batch)


def test_memory_of_a_tensor_of_known_size_within_2_percent(tmp_path: Path) -> None:
    """Three of the five figures are compared with those of the same model without the tensor.

    So neither the context nor what other tests hold counts. The figure of the process comes from NVML, which may not
    see the process in a container.
    """
    device = torch.device("cuda:0")
    Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(tmp_path / "0.png")
    records = (ImageRecord(0, tmp_path / "0.png", 20, 30),)
    dataset = CocoDataset("d", tmp_path / "a.json", records, 1, (), [], "")
    device_memory = DeviceMemory()

    def figures(model: type[Blobs]) -> MemoryResult:
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        context = context_of(model(Settings(device)), dataset)
        return PASS.measure(replace(context, device=device, device_memory=device_memory))

    plain, hungry = figures(Blobs), figures(Hungry)
    for name in ("peak_allocated_bytes", "peak_reserved_bytes", "process_device_bytes"):
        before, after = getattr(plain, name), getattr(hungry, name)
        if name == "process_device_bytes" and before is None:
            continue
        assert after - before == pytest.approx(NEED, rel=0.02), name


def test_a_demo_model_on_a_gpu(run_command: Any, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    small = ["protocol=quick", "dataset.shapes.count=4", "detections=saturated", "precision=fp32,fp16"]
    done = run_command("model=demo_mask_rcnn_torchvision", "device=cuda:0", *small, f"out={tmp_path}")
    assert done.returncode == 0, done.stderr
    results = [read_result(path) for path in tmp_path.glob("jobs/*/result.json")]
    assert {r.config["precision"] for r in results} == {"fp32", "fp16"}
    for result in results:
        assert result.status == "ok", result.reason
        speed, memory = result.speed, result.memory
        assert speed is not None
        assert memory is not None
        assert speed.model.clock == "cuda_event"
        assert speed.end_to_end.clock == "perf_counter"
        assert speed.model.wall_ms is not None
        # The events lie inside the host's bracket.
        for event_ms, wall_ms in zip(speed.model.latency_ms, speed.model.wall_ms, strict=True):
            assert 0 < event_ms <= wall_ms
        assert set(speed.detections_per_image) == {100}
        assert memory.peak_allocated_bytes is not None
        assert memory.peak_reserved_bytes is not None
        assert memory.parameters_bytes < memory.peak_allocated_bytes <= memory.peak_reserved_bytes
        if memory.process_device_bytes is not None:
            assert memory.process_device_bytes > memory.peak_reserved_bytes
            assert memory.device_source in ("nvml_process", "device_difference")
        assert result.machine is not None
        assert result.machine["gpu"]["name"] == torch.cuda.get_device_name(0)
