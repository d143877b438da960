"""torch's switches that trade exactness for speed, set alike for every library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.errors import UserError
from bench.schema.config import BenchConfig

if TYPE_CHECKING:  # a worker that replays results may do without it, and it takes seconds
    import torch

TENSOR_CORES = (8, 0)
"""Compute capability of the first GPUs with TF32 and bfloat16 in their tensor cores (Ampere)."""

INSTRUCTIONS = {"bf16": ("avx512_bf16", "amx_bf16", "avx10_1"), "fp16": ("avx512_fp16", "amx_fp16", "avx10_1")}
"""Sets of x86 instructions, by torch's names for them, one of which a processor needs to compute in this precision."""


def apply(config: BenchConfig) -> None:
    """Set the switches of a job: TF32 for matrices and convolutions with ``precision=tf32`` and with no other, cuDNN's
    search as the protocol says.

    torch's own default has TF32 in convolutions and not in matrices; ``fp32`` here has it in neither. Libraries set
    such switches when they are imported or built, so this is to be called after both.
    """
    import torch

    tf32 = config.precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = config.protocol.cudnn_benchmark


def refuse_unsupported(precision: str, device: torch.device) -> None:
    """Raise a UserError where the device cannot compute in this precision."""
    if precision == "tf32" and device.type != "cuda":
        raise UserError(f"precision=tf32: {device} has no TF32, only CUDA GPUs have; give fp32")
    if precision not in ("tf32", "bf16") or device.type != "cuda":
        return
    import torch

    capability = torch.cuda.get_device_capability(device)
    if capability < TENSOR_CORES:
        raise UserError(
            f"precision={precision}: {torch.cuda.get_device_name(device)} lacks it (compute capability "
            f"{capability[0]}.{capability[1]}, must be 8.0 or more); give fp32 or fp16"
        )


def emulated(precision: str, device: torch.device) -> str | None:
    """A sentence where the processor has no instructions for this precision, so that torch emulates them, which takes
    many times as long as fp32; None where it has, or where torch cannot tell."""
    if device.type != "cpu" or precision not in INSTRUCTIONS:
        return None
    import torch

    if not hasattr(torch.cpu, "get_capabilities"):
        return None
    there = torch.cpu.get_capabilities()
    if there.get("architecture") != "x86_64" or any(there.get(name) for name in INSTRUCTIONS[precision]):
        return None
    return (
        f"precision={precision}: this processor has no instructions for it ({' or '.join(INSTRUCTIONS[precision])}), "
        f"and torch emulates them: its speed says nothing of a processor that has them"
    )
