"""What only a card can show; skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.result import read_result

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_a_demo_model_on_the_card(run_command: Any, tmp_path: Path) -> None:
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
