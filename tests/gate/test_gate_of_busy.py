"""Test how a gate judges what the GPU did: as it was read, between equal GPUs, and with the marks of the rows."""

from __future__ import annotations

import copy
from typing import Any

from gate_cases import MACHINE, result, row
from literal_results import with_busy

from bench.gate.compare import compare
from bench.schema.config import GateConfig
from bench.schema.gate_report import GateReport
from bench.schema.result import Result
from reports.ci.job_summary import job_summary

THRESHOLDS = {"gpu_busy_percent": "-10%", "gpu_ms": "+3%", "kernels_per_image": "+5%"}


def held(base: Result, head: Result) -> GateReport:
    return compare([row(base)], [row(head)], GateConfig(thresholds=THRESHOLDS), ("base", "head"))


def verdicts(report: GateReport) -> dict[str, str]:
    return {finding.metric: finding.verdict for finding in report.findings if finding.metric in THRESHOLDS}


def test_a_smaller_share_is_worse_and_a_shorter_time_of_the_gpu_is_better() -> None:
    report = held(with_busy(result(), 90), with_busy(result(), 45))
    assert verdicts(report) == {"gpu_busy_percent": "worse", "gpu_ms": "better", "kernels_per_image": "same"}
    assert not report.passed
    report = held(with_busy(result(), 45), with_busy(result(), 90))
    assert verdicts(report) == {"gpu_busy_percent": "better", "gpu_ms": "worse", "kernels_per_image": "same"}
    report = held(with_busy(result(), 90), with_busy(result(), 90))
    assert set(verdicts(report).values()) == {"same"}


def test_it_is_not_compared_between_gpus() -> None:
    machine: dict[str, Any] = copy.deepcopy(MACHINE)
    machine["gpu"]["name"] = "NVIDIA H100"
    report = compare(
        [row(with_busy(result(), 90))],
        [row(with_busy(result(machine=machine), 45))],
        GateConfig(thresholds={**THRESHOLDS, "mask_ap": "-0.2"}),
        ("base", "head"),
    )
    assert set(verdicts(report).values()) == {"not comparable"}


def test_the_gate_names_the_marks_of_its_rows() -> None:
    label = held(with_busy(result(), 90), with_busy(result(), 90)).findings[0].model
    report = held(with_busy(result(), 90), with_busy(result(), 45))
    assert f"host-bound: {label} (head)" in report.notes
    assert "host-bound: " in job_summary(report)
    report = held(with_busy(result(), 40), with_busy(result(), 45))
    assert f"host-bound: {label}" in report.notes
