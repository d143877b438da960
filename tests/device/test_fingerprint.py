"""Tests what counts as a change of what the figures of a result depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gate_cases import result

from bench.device.fingerprint import Fingerprint, changes, digest_of, facts_of, in_words
from bench.schema.parts.training import FinetuneResult
from bench.schema.result import MEASUREMENT_VERSION, Result

MACHINE: dict[str, Any] = {
    "cpu": {"name": "AMD EPYC 9354", "usable_cores": 16, "logical_cores": 32},
    "gpu": {"name": "NVIDIA H200", "driver_version": "580.65", "temperature_celsius": 41},
    "python": "3.11.9",
    "versions": {"torch": "2.14.1", "mmdet": "3.3.0"},
    "time_utc": "2026-11-22T13:00:00+00:00",
}

FACTS = {
    "processor": "AMD EPYC 9354",
    "usable cores": "16",
    "GPU": "NVIDIA H200",
    "GPU driver": "580.65",
    "Python": "3.11.9",
    "torch": "2.14.1",
    "mmdet": "3.3.0",
}

SOURCES = {"models.py": "aa", "layers.py": "bb"}


def stored(**fields: Any) -> Result:
    measured = result(machine=MACHINE)
    measured.measurement_version = MEASUREMENT_VERSION
    for name, value in {"sources": SOURCES, **fields}.items():
        setattr(measured, name, value)
    return measured


def now(**fields: Any) -> Fingerprint:
    return Fingerprint(**{"sources": SOURCES, "target": "models.py", "facts": FACTS, **fields})


def test_the_facts_of_a_machine_are_those_that_move_a_figure() -> None:
    assert facts_of(MACHINE) == FACTS
    assert facts_of({"cpu": {"name": None}, "gpu": None}) == {}
    assert facts_of(None) == {}


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ({}, []),
        ({"sources": {**SOURCES, "of_another_model.py": "cc"}}, []),
        ({"sources": {**SOURCES, "layers.py": "dd"}}, ["layers.py has changed"]),
        ({"sources": {"models.py": "aa"}}, ["layers.py is gone"]),
        (
            {"sources": {**SOURCES, "src/models.py": "aa"}, "target": "src/models.py"},
            ["the class now comes from src/m"],
        ),
        ({"facts": {**FACTS, "torch": "2.15.0"}}, ["torch was 2.14.1 and is 2.15.0"]),
        ({"facts": {**FACTS, "processor": "Xeon"}}, ["processor was AMD EPYC 9354 and is Xeon"]),
        ({"facts": {**FACTS, "GPU": "NVIDIA H100"}}, ["GPU was NVIDIA H200 and is NVIDIA H100"]),
        ({"facts": {"torch": "2.14.1", "onnx": "1.0"}}, []),
    ],
)
def test_each_change_is_told(differs: dict[str, Any], told: list[str]) -> None:
    found = changes(stored(), now(**differs))
    assert len(found) == len(told)
    assert all(one.startswith(start) for one, start in zip(found, told, strict=True)), found


def test_another_way_of_measuring_is_a_change() -> None:
    [found] = changes(stored(measurement_version=1), now())
    assert found == "the version of the way of measuring was 1 and is 4"


def test_a_training_goes_on_on_another_machine_but_not_with_other_code() -> None:
    training = FinetuneResult("scratch", 9, 1.0, 4, "d")
    trained = Result(
        "failed", {}, finetune=training, machine=MACHINE, sources=SOURCES, measurement_version=MEASUREMENT_VERSION
    )
    assert changes(trained, now(facts={**FACTS, "GPU driver": "590"})) == []
    assert changes(trained, now(sources={**SOURCES, "models.py": "ee"})) == ["models.py has changed"]


def test_a_source_that_the_check_did_not_import_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("A = 1\n")
    found = now(folders=["/nowhere", str(tmp_path)])
    before = stored(sources={**SOURCES, "late.py": digest_of(tmp_path / "late.py")})
    assert changes(before, found) == []
    (tmp_path / "late.py").write_text("A = 2\n")
    assert changes(before, found) == ["late.py has changed"]


def test_a_line_names_three_changes() -> None:
    assert in_words(["a", "b", "c"]) == "a; b; c"
    assert in_words(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"
