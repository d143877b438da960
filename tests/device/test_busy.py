"""Test what a GPU did, on literal events whose figures can be added up by hand."""

from __future__ import annotations

import pytest

from bench.device.busy import (
    DeviceEvent,
    HostEvent,
    busy_intervals,
    busy_ms,
    function_in,
    longest_gaps,
    most_work,
    python_function,
    short_kernel,
)
from bench.schema.parts.busy import DeviceWork, Gap


def kernel(start: float, end: float, name: str = "k", stream: int = 7) -> DeviceEvent:
    return DeviceEvent(name, "kernel", start, end, stream)


@pytest.mark.parametrize(
    ("events", "intervals"),
    [
        ([], []),
        ([kernel(10, 20)], [(10, 20)]),
        ([kernel(10, 20), kernel(30, 35)], [(10, 20), (30, 35)]),
        ([kernel(30, 35), kernel(10, 20)], [(10, 20), (30, 35)]),  # in any order
        ([kernel(10, 20), kernel(15, 25)], [(10, 25)]),  # overlapping
        ([kernel(10, 40), kernel(15, 25), kernel(30, 35)], [(10, 40)]),  # nested
        ([kernel(10, 20), kernel(20, 30)], [(10, 30)]),  # one after the other
        ([kernel(10, 20, stream=7), kernel(12, 30, stream=8)], [(10, 30)]),  # on two streams
        ([kernel(10, 20), DeviceEvent("Memcpy HtoD", "copy", 18, 22)], [(10, 22)]),
        ([kernel(10, 10)], []),  # of no length
    ],
)
def test_union_of_intervals(events: list[DeviceEvent], intervals: list[tuple[float, float]]) -> None:
    assert busy_intervals(events) == intervals
    assert busy_ms(events) == sum(end - start for start, end in intervals) / 1000


def test_the_kernels_that_take_most() -> None:
    first = "void at::native::elementwise_kernel<128, 4, add(int)::{lambda(int)#1}>(int, lambda)"
    second = "void at::native::elementwise_kernel<128, 2, mul>(int, lambda)"
    events = [
        kernel(0, 1000, first),
        kernel(2000, 4500, second, stream=8),
        kernel(5000, 9000, "ampere_sgemm_128x64_nn"),
        DeviceEvent("Memcpy HtoD (Pageable -> Device)", "copy", 9000, 9500),
        DeviceEvent("Memset (Device)", "set", 9500, 9600),
        kernel(9600, 9650, "e"),
        kernel(9700, 9740, "f"),
    ]
    assert most_work(events) == [
        DeviceWork("ampere_sgemm_128x64_nn", 4.0, 1),
        DeviceWork("at::native::elementwise_kernel", 3.5, 2),
        DeviceWork("Memcpy HtoD (Pageable -> Device)", 0.5, 1),
        DeviceWork("Memset (Device)", 0.1, 1),
        DeviceWork("e", 0.05, 1),
    ]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("ampere_sgemm_128x64_nn", "ampere_sgemm_128x64_nn"),
        ("void (anonymous namespace)::softmax_warp_forward<float, 7>(float*)", "anonymous::softmax_warp_forward"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_64x64_nn_align4>(T1::Params)",
         "cutlass_80_tensorop_s1688gemm_64x64_nn_align4"),
        ("void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int, int>, A>>(P)",
         "cutlass::gemm::kernel::GemmUniversal"),
        ("std::enable_if<!(false), void>::type internal::gemvx::kernel<int, float>(cublasGemvParams)",
         "internal::gemvx::kernel"),
        ("auto foo<(bool)(1>0)>(int)", "foo"),
        ("void foo<(E)1, bar<(a < b), 3>>(int)", "foo"),
        ("triton_poi_fused_add_0", "triton_poi_fused_add_0"),
        ("<>", "<>"),
        ("", ""),
        ("x" * 100, "x" * 79 + "…"),
    ],
)  # fmt: skip
def test_names_of_kernels(name: str, short: str) -> None:
    assert short_kernel(name) == short


def test_gaps_lie_between_the_ends_of_the_window() -> None:
    events = [kernel(1000, 2000), kernel(1500, 3000, stream=8), kernel(7000, 8000)]
    gaps = longest_gaps(events, [], (0, 10_000))
    assert gaps == [Gap(4.0), Gap(2.0), Gap(1.0)]  # between, after the last, before the first
    assert sum(gap.milliseconds for gap in gaps) + busy_ms(events) == 10
    assert longest_gaps(events, [], (0, 10_000), count=1) == [Gap(4.0)]
    assert longest_gaps([], [], (0, 5000)) == [Gap(5.0)]
    assert longest_gaps([kernel(-5, 5005)], [], (0, 5000)) == []
    assert longest_gaps([kernel(6000, 7000)], [], (0, 5000)) == [Gap(5.0)]  # after the window


def test_the_function_of_a_gap_is_the_innermost_that_ran_for_most_of_it() -> None:
    calls = [
        HostEvent("model.py:1 forward", 0, 10_000),
        HostEvent("nms.py:5 batched_nms", 2000, 6000),
        HostEvent("nms.py:9 short", 2000, 3000),
        HostEvent("nms.py:20 other", 3000, 3500),
        HostEvent("model.py:30 after", 6000, 9000),
    ]
    assert function_in(calls, (2000, 6000)) == "nms.py:5 batched_nms"  # its callees ran for 1 and 0.5 of 4 ms
    assert function_in(calls, (2000, 3100)) == "nms.py:9 short"
    assert function_in(calls, (4000, 8000)) == "model.py:1 forward"  # half of it is not most of it
    assert function_in(calls, (11_000, 12_000)) is None
    assert function_in([], (0, 1)) is None
    [gap] = longest_gaps([kernel(0, 2000), kernel(6000, 9900)], calls, (0, 9900), count=1)
    assert gap == Gap(4.0, "nms.py:5 batched_nms")


def test_a_function_in_c_is_named_with_its_caller() -> None:
    calls = [
        HostEvent("nms.py:5 batched_nms", 0, 1000),
        HostEvent("<built-in method nonzero of type object at 0x7f96bce354f0>", 100, 900),
    ]
    assert function_in(calls, (0, 1000)) == "nms.py:5 batched_nms, in nonzero"
    assert function_in(calls[1:], (0, 1000)) is None


@pytest.mark.parametrize(
    ("in_c", "name"),
    [
        ("<method-wrapper '__call__' of X object at 0x7f00aa>", "__call__"),
        ("<slot wrapper '__init__' of 'object' objects>", "__init__"),
        ("<method 'append' of 'list' objects>", "append"),
    ],
)
def test_what_has_no_line_is_no_python_function(in_c: str, name: str) -> None:
    """The address of an object is of this run alone."""
    calls = [HostEvent("nms.py:5 <listcomp>", 0, 1000), HostEvent(in_c, 100, 900)]
    assert function_in(calls, (0, 1000)) == f"nms.py:5 <listcomp>, in {name}"
    assert function_in(calls[1:], (0, 1000)) is None
    other = HostEvent("<capsule object of X>", 50, 950)
    assert function_in([calls[0], other], (0, 1000)) == "nms.py:5 <listcomp>"
    traced = HostEvent("<eval_with_key>.3:4 <lambda>", 50, 950)
    assert function_in([calls[0], traced], (0, 1000)) == "<eval_with_key>.3:4 <lambda>"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("torch/nn/modules/module.py(1553): _call_impl", "torch/nn/modules/module.py:1553 _call_impl"),
        ("/home/ann/projects/secret/model.py(12): forward", "model.py:12 forward"),
        ("/home/ann/.venv/lib/python3.11/site-packages/mmdet/models/x.py(3): f", "mmdet/models/x.py:3 f"),
        ("../ann/model.py(12): forward", "model.py:12 forward"),
        ("C:\\Users\\ann\\model.py(12): forward", "model.py:12 forward"),
        ("<eval_with_key>.3(4): forward", "<eval_with_key>.3:4 forward"),
        ("a.py(1): <listcomp>", "a.py:1 <listcomp>"),
        ("<built-in function len>", "<built-in function len>"),
        ("<fastpath X object at 0x7f00aa>", "<fastpath X object>"),
    ],
)
def test_a_python_function_is_named_without_a_path_of_this_machine(name: str, shown: str) -> None:
    assert python_function(name) == shown
