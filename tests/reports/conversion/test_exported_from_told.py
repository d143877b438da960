"""Tests that a row whose user says what its file was exported from is set against that row in torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result

from bench.schema.result import ModelInfo, RuntimeInfo
from reports.conversion.groups import bases
from reports.table.comparison import load

SHA256 = "0" * 64


@pytest.mark.parametrize(
    ("said", "of_file", "grouped"),
    [(None, None, False), (SHA256, None, True), (None, SHA256, True), ("1" * 64, None, False)],
)
def test_a_row_is_set_against_the_weights_that_its_user_names(
    said: str | None, of_file: str | None, grouped: bool, tmp_path: Path, write_run: Any
) -> None:
    eager, file = build_result("A", mask_ap=0.4), build_result("A in a file", mask_ap=0.39)
    eager.model = ModelInfo(["a"], "weights.pth", SHA256)
    runtime = RuntimeInfo("ONNX Runtime", "1.32.0", "CPU", "fp32", 17, 10, 0.5, exported_from=of_file)
    file.model = ModelInfo(["a"], "m.onnx", "2" * 64, runtime=runtime)
    file.config["model"]["exported_from"] = said
    run = write_run(tmp_path / "run", [eager, file])
    assert bases(load([run], tmp_path)) == ({1: 0} if grouped else {})
