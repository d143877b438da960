"""Tests the grammar of thresholds: what it takes, what it refuses and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from bench.errors import UserError
from bench.gate.thresholds import parse, parse_all
from bench.jobs.validate import check_values
from bench.schema.config import AccuracyConfig, BenchConfig, GateConfig, ModelConfig
from bench.schema.metrics import METRICS


@pytest.mark.parametrize(
    ("name", "text", "size", "relative"),
    [
        ("fps_model", "-3%", 0.03, True),
        ("fps_model", "-1.5", 1.5, False),
        ("latency_ms_p95", "+10 %", 0.1, True),
        ("peak_reserved_mb", "+2%", 0.02, True),
        ("peak_reserved_mb", "+100", 100.0, False),
        ("mask_ap", "-0.2", 0.2, False),
        ("mask_ap", -0.2, 0.2, False),
        ("mask_ap", "-.5", 0.5, False),
        ("fps_model", "0%", 0.0, True),
        ("peak_allocated_mb", "0", 0.0, False),
    ],
)
def test_what_it_takes(name: str, text: object, size: float, relative: bool) -> None:
    threshold = parse(name, text)
    assert threshold is not None
    assert threshold.metric is METRICS[name]
    assert (threshold.size, threshold.relative) == (pytest.approx(size), relative)


@pytest.mark.parametrize("text", [None, "none", "None"])
def test_switched_off(text: object) -> None:
    assert parse("fps_model", text) is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("fps_modle", "-3%", "gate.thresholds.fps_modle: no such metric; did you mean fps_model"),
        (
            "fps_model",
            "3 percent",
            "gate.thresholds.fps_model=3 percent: not a threshold; give a change as -3%, or none",
        ),
        ("fps_model", "--3%", "not a threshold"),
        ("fps_model", "+3%", "a higher fps_model is better, so its threshold is a fall; give -3%"),
        ("fps_model", "3%", "a higher fps_model is better, so its threshold is a fall; give -3%"),
        ("peak_reserved_mb", "-2%", "a lower peak_reserved_mb is better, so its threshold is a rise; give +2%"),
        ("mask_ap", "nan", "not a threshold"),
    ],
)
def test_what_it_refuses(name: str, text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(name, text)
    assert words in str(caught.value)


def test_a_model_has_thresholds_of_its_own() -> None:
    thresholds = parse_all(
        {"fps_model": "-3%", "mask_ap": "-0.2", "host_rss_mb": "none"},
        {"solo": {"fps_model": "-8%", "mask_ap": "none"}},
    )
    assert [(t.metric.name, t.size) for t in thresholds.of("solov2")] == [("fps_model", 0.03), ("mask_ap", 0.2)]
    assert [(t.metric.name, t.size) for t in thresholds.of("solo")] == [("fps_model", 0.08)]


def test_a_model_s_thresholds_are_checked_under_its_own_name() -> None:
    with pytest.raises(UserError, match=r"gate\.models\.solo\.fps_model=\+3%"):
        parse_all({}, {"solo": {"fps_model": "+3%"}})
    with pytest.raises(UserError, match=r"gate\.models\.solo=-3%: must be a table"):
        parse_all({}, {"solo": "-3%"})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("parts", "gate", "words"),
    [
        (
            ["errors"],
            GateConfig(thresholds={"mask_ap": "-0.2"}),
            "gate.thresholds.mask_ap=-0.2: its test needs bootstrap, which accuracy.parts leaves out; give "
            "accuracy.parts=[bootstrap,errors], or gate.thresholds.mask_ap=none",
        ),
        (
            [],
            GateConfig(thresholds={"boundary_ap": "-1%"}),
            "gate.thresholds.boundary_ap=-1%: its test needs boundary and bootstrap, which accuracy.parts leaves out; "
            "give accuracy.parts=[boundary,bootstrap], or gate.thresholds.boundary_ap=none",
        ),
        (
            ["boundary"],
            GateConfig(thresholds={"mask_ap": "none"}, models={"net": {"boundary_ap": "-1"}}),
            "gate.models.net.boundary_ap=-1: its test needs bootstrap, which accuracy.parts leaves out; give "
            "accuracy.parts=[boundary,bootstrap], or gate.models.net.boundary_ap=none",
        ),
    ],
)
def test_a_test_that_needs_a_part_of_the_accuracy_is_refused_without_it(
    parts: list[str], gate: GateConfig, words: str
) -> None:
    config = BenchConfig(model=ModelConfig(name="net", weights="own"), gate=gate, accuracy=AccuracyConfig(parts))
    with pytest.raises(UserError) as refused:
        check_values(config)
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("gate", "settings"),
    [
        (GateConfig(thresholds={"mask_ap": "none", "mask_ap50": "-1", "fps_model": "-2%"}), {}),
        (GateConfig(thresholds={"mask_ap": "-1"}, models={"net": {"mask_ap": None}}), {}),
        (GateConfig(thresholds={"mask_ap": "-1"}, models={"another": {"boundary_ap": "-1"}}), {"passes": ["speed"]}),
        (GateConfig(thresholds={"mask_ap": "-1"}), {"model": ModelConfig(name="net", weights="random")}),
        (None, {}),
    ],
)
def test_a_gate_without_such_a_test_needs_no_part(gate: GateConfig | None, settings: dict[str, Any]) -> None:
    given = {"model": ModelConfig(name="net", weights="own"), **settings}
    check_values(BenchConfig(gate=gate, accuracy=AccuracyConfig([]), **given))
