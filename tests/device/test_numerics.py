"""Test that a precision that a device lacks is refused by name, and that its switches are set for all libraries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench.device.numerics import apply, emulated, refuse_unsupported
from bench.errors import UserError
from bench.jobs.job import Question, WorkerJob
from bench.jobs.messages import Message, Refused
from bench.jobs.worker.check import check
from bench.schema.config import BenchConfig, ProtocolConfig

CUDA = torch.device("cuda:0")


@pytest.fixture
def _switches() -> Iterator[None]:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]


def fake_gpu(monkeypatch: pytest.MonkeyPatch, name: str, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_gpu_without_it(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    fake_gpu(monkeypatch, "Tesla T4", (7, 5))
    wanted = rf"precision={precision}: Tesla T4 lacks it \(compute capability 7.5, must be 8.0 or more\); give fp32"
    with pytest.raises(UserError, match=wanted):
        refuse_unsupported(precision, CUDA)
    for other in ("fp32", "fp16"):
        refuse_unsupported(other, CUDA)


def test_a_gpu_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(monkeypatch, "NVIDIA A100-SXM4-80GB", (8, 0))
    for precision in ("fp32", "tf32", "fp16", "bf16"):
        refuse_unsupported(precision, CUDA)


def test_the_check_before_a_study_refuses_for_all_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(monkeypatch, "Tesla T4", (7, 5))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    jobs = [WorkerJob(BenchConfig(precision=precision), None, None, "") for precision in ("fp16", "bf16")]
    sent: list[Message] = []
    check(Question("cuda:0", jobs), sent.append)
    [answer] = sent
    assert isinstance(answer, Refused)
    assert answer.line.startswith("precision=bf16: Tesla T4 lacks it")


@pytest.mark.usefixtures("_switches")
@pytest.mark.parametrize(("precision", "tf32"), [("fp32", False), ("tf32", True), ("fp16", False)])
def test_tf32_is_allowed_where_it_is_asked_for_and_nowhere_else(precision: str, tf32: bool) -> None:
    apply(BenchConfig(precision=precision, protocol=ProtocolConfig(cudnn_benchmark=tf32)))
    assert (torch.get_float32_matmul_precision() == "high") is tf32
    assert torch.backends.cudnn.allow_tf32 is tf32
    assert torch.backends.cudnn.benchmark is tf32


@pytest.mark.parametrize(
    ("precision", "capabilities", "said"),
    [
        ("bf16", {"architecture": "x86_64", "avx2": True, "avx512_bf16": False, "amx_bf16": False}, True),
        ("bf16", {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, False),
        ("bf16", {"architecture": "x86_64", "amx_bf16": True}, False),
        ("fp16", {"architecture": "x86_64", "avx512_bf16": True, "avx512_fp16": False}, True),
        ("fp16", {"architecture": "x86_64", "avx512_fp16": True}, False),
        ("fp32", {"architecture": "x86_64"}, False),
        ("bf16", {"architecture": "aarch64"}, False),
        ("bf16", {}, False),
    ],
)
def test_a_processor_without_instructions_for_it_is_told_of(
    monkeypatch: pytest.MonkeyPatch, precision: str, capabilities: dict[str, object], said: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    sentence = emulated(precision, torch.device("cpu"))
    assert (sentence is not None) == said
    assert sentence is None or sentence.startswith(f"precision={precision}: this processor has no instructions for it")
    assert emulated(precision, CUDA) is None
