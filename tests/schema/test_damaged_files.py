"""Stored files that somebody has damaged or edited are refused in one line, by type, range, length, depth and size."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from damaged import DEPTH, damaged
from whole_result import whole_result

from bench.errors import UserError
from bench.files import json_file
from bench.schema.gate_report import Finding, GateReport, read_report
from bench.schema.parts.busy import BusyResult
from bench.schema.parts.speed import HostReadings
from bench.schema.result import PASSES, Result, parse_result, read_own_result, read_result, write_result

NEVER_READ = ("NaN", "1e999", "a lone surrogate", f"{DEPTH} deep")
"""Values of :data:`damaged.VALUES` that are wrong wherever they stand."""


def document() -> dict[str, Any]:
    return dataclasses.asdict(whole_result())


def test_damaged_results_are_refused_in_one_line_or_read() -> None:
    problems = {what: _problem(text) for what, text in damaged(document(), every=11)}
    refused = {what: problem for what, problem in problems.items() if problem is not None}
    assert len(problems) > 400
    assert len(refused) > 350
    assert all(problem.startswith("file: ") and len(problem) < 300 for problem in refused.values())
    assert {what for what in problems if what.endswith(NEVER_READ)} <= set(refused)


def _problem(text: str) -> str | None:
    try:
        parse_result(text.encode(), "file")
    except UserError as error:
        return str(error)
    return None


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(tree: dict[str, Any]) -> None:
        *above, last = path.split(".")
        for key in above:
            tree = tree[int(key)] if isinstance(tree, list) else tree[key]
        tree[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("status", "fine", "status 'fine' is none of ok, failed"),
        ("energy", float("inf"), "not JSON (JSON is malformed: invalid character"),
        ("schema_version", True, "schema_version True"),
        ("memory.parameters_bytes", "x", "memory.parameters_bytes: expected int | null, got str"),
        ("memory.host_rss_bytes", -1, "memory.host_rss_bytes: expected int >= 0"),
        ("memory.host_rss_bytes", True, "memory.host_rss_bytes: expected int | null, got bool"),
        ("memory.host_rss_bytes", 2**70, "memory.host_rss_bytes: expected int <= 9223372036854775807"),
        ("energy.energy_joules", 1e308, "energy.energy_joules: expected float <= 1e+60"),
        ("accuracy.figures", {"mask_ap": 37.2}, "accuracy.figures[...]: expected float <= 1.000001"),
        ("accuracy.confidence_interval", [0.3], "accuracy.confidence_interval: expected array of length >= 2"),
        ("accuracy.calibration.detections", [1], "calibration has 5 edges, so each of its other lists must have 4"),
        ("accuracy.bootstrap.boundary_ap", [0.3], "bootstrap.boundary_ap has 1 entries, mask_ap 4"),
        ("speed.preprocess.latency_ms", [1.0], "speed.rounds have 6 samples, speed.preprocess.latency_ms has 1"),
        ("speed.model.wall_ms", [1.0], "wall_ms has 1 entries, latency_ms 6"),
        ("speed.model.latency_ms", [0.0] * 6, "speed.model has a time of 0 ms"),
        (
            "speed.detections_per_image",
            [1],
            "speed.image_sizes has 6 entries, speed.detections_per_image 1, of 6 batch",
        ),
        ("speed.image_sizes", [[1]] * 6, "speed.image_sizes[0]: expected array of length >= 2"),
        ("speed.batch_size", 0, "speed.batch_size: expected int >= 1"),
        ("busy", dataclasses.asdict(BusyResult(1, 1, 300.0, 400.0, 1e9, 1, 1)), "busy.busy_ms is 1e+09, of plain_ms "),
        (
            "speed.rounds.0.host",
            dataclasses.asdict(HostReadings([1e50], [], 0)),
            "host.others_percent[0]: expected float <= 101",
        ),
        ("seconds_by_part", {"speed": 1e6}, "seconds_by_part add up to 1000000.0, of seconds "),
        ("machine.gpu", "NVIDIA H200", "machine.gpu: expected object | null, got str"),
        ("machine.notes", "x", "machine.notes: expected array, got str"),
        ("config.dataset", [], "config.dataset: expected object, got array"),
        ("config.batch_size", "x", "config.batch_size: expected int, got str"),
        ("published.mask_ap", "37.2", "published.mask_ap: expected float | null, got str"),
        ("choices.model", 7, "choices[...]: expected str, got int"),
        ("config.model.options", json.loads("[" * 70 + "]" * 70), "more than 64 deep within each other"),
    ],
)
def test_what_is_wrong_and_where_is_said(tmp_path: Path, path: str, value: Any, line: str) -> None:
    changed, file = document(), tmp_path / "result.json"
    _set(path, value)(changed)
    file.write_text(json.dumps(changed))
    with pytest.raises(UserError) as caught:
        read_result(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert line in str(caught.value)


def test_keys_of_another_version_in_what_is_free_are_no_fault() -> None:
    changed = document()
    changed["config"] = {"model": {"name": "m", "of_another_version": 1}, "of_another_version": {}}
    changed["machine"]["of_another_version"] = [1]
    changed["machine"]["cpu"] = None
    assert parse_result(json.dumps(changed).encode(), "file").config["model"]["name"] == "m"


def test_what_is_no_text_can_be_read_back(tmp_path: Path) -> None:
    """A reason may quote the name of a file that is not in UTF-8."""
    write_result(Result("failed", {}, "gr\udcf6\udcdfe.pt: größer \U0001f600"), tmp_path / "result.json")
    assert read_result(tmp_path / "result.json").reason == "gr??e.pt: größer \U0001f600"


def test_no_more_than_a_bound_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_result(whole_result(), path)
    monkeypatch.setattr(json_file, "MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(UserError, match=r"result.json: has more than 0 MiB"):
        read_result(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "result.json")
    with pytest.raises(UserError, match="not a regular file"):
        read_result(tmp_path / "result.json")


def test_a_worker_reads_its_result_without_msgspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_result(whole_result(), tmp_path / "result.json")
    monkeypatch.delitem(sys.modules, "bench.files.validation", raising=False)
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert read_own_result(tmp_path / "result.json") == whole_result()
    with pytest.raises(ImportError):
        read_result(tmp_path / "result.json")


def test_every_pass_has_its_part_of_a_result() -> None:
    assert set(PASSES) < {field.name for field in dataclasses.fields(Result)}


def test_damaged_findings_of_a_gate_are_refused(tmp_path: Path) -> None:
    finding = Finding("m", "job", "fps_model", "worse", "it is slower", "images/s", 20.0, 10.0, p=0.01)
    report = dataclasses.asdict(GateReport("base", "head", False, "one is worse", [finding]))
    path, refused = tmp_path / "gate.json", 0
    for what, text in damaged(report):
        path.write_text(text)
        try:
            read_report(path)
        except UserError:
            refused += 1
        else:
            assert not what.endswith(NEVER_READ), what
    assert refused > 150
