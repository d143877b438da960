"""A precision that a device lacks is refused by name; the switches of one are set for every library alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench.build import check
from bench.config import BenchConfig, ProtocolConfig
from bench.errors import UserError
from bench.numerics import apply, refuse_unsupported

CUDA = torch.device("cuda:0")


@pytest.fixture
def _switches() -> Iterator[None]:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]


def card(monkeypatch: pytest.MonkeyPatch, name: str, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_card_without_it(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    card(monkeypatch, "Tesla T4", (7, 5))
    wanted = rf"precision={precision}: Tesla T4 lacks it \(compute capability 7.5, must be 8.0 or more\); give fp32"
    with pytest.raises(UserError, match=wanted):
        refuse_unsupported(precision, CUDA)
    for other in ("fp32", "fp16"):
        refuse_unsupported(other, CUDA)


def test_a_card_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, "NVIDIA A100-SXM4-80GB", (8, 0))
    for precision in ("fp32", "tf32", "fp16", "bf16"):
        refuse_unsupported(precision, CUDA)


def test_the_check_before_a_study_refuses_for_all_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    card(monkeypatch, "Tesla T4", (7, 5))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    jobs = [{"config": {"precision": precision}} for precision in ("fp16", "bf16")]
    answer = check({"device": "cuda:0", "jobs": jobs})
    assert set(answer) == {"error"}
    assert answer["error"].startswith("precision=bf16: Tesla T4 lacks it")


@pytest.mark.usefixtures("_switches")
@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("tf32", True), ("fp16", False)])
def test_tf32_is_allowed_where_it_is_asked_for_and_nowhere_else(precision: str, tf32: bool) -> None:
    apply(BenchConfig(precision=precision, protocol=ProtocolConfig(cudnn_benchmark=tf32)))
    assert (torch.get_float32_matmul_precision() == "high") is tf32
    assert torch.backends.cudnn.allow_tf32 is tf32
    assert torch.backends.cudnn.benchmark is tf32
