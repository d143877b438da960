"""Tests which weights a file for a runtime is said to be exported from, and that nothing else is taken for them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from literal_results import build_result

from bench.errors import UserError
from bench.schema.result import ModelInfo, RuntimeInfo, write_result
from bench.weights.exported import exported_from, refuse_other

WEIGHTS = b"weights of a network in torch"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def _runtime(exported: str | None = None) -> RuntimeInfo:
    return RuntimeInfo("ONNX Runtime", "1.32.0", "CPU", "fp32", 17, 10, 0.5, exported_from=exported)


def test_weights_a_row_and_a_digest_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(WEIGHTS)
    row = build_result()
    row.model = ModelInfo(["a"], "weights.pth", SHA256)
    write_result(row, tmp_path / "job" / "result.json")
    for named in (tmp_path / "weights.pth", tmp_path / "job", tmp_path / "job/result.json", SHA256, SHA256.upper()):
        assert exported_from(str(named)) == SHA256


def test_what_has_no_weights_in_torch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.exported_from=absent\.pth: no such file; give the path of"):
        exported_from("absent.pth")
    row = build_result()
    path = tmp_path / "result.json"
    row.model = ModelInfo(["a"], "random")
    write_result(row, path)
    with pytest.raises(UserError, match="this row has no file of weights"):
        exported_from(str(path))
    row.model = ModelInfo(["a"], "m.onnx", "1" * 64, runtime=_runtime())
    write_result(row, path)
    with pytest.raises(UserError, match=r"this row is of ONNX Runtime, and no network in torch"):
        exported_from(str(tmp_path))


def test_what_a_file_says_itself_is_not_overruled() -> None:
    refuse_other(None, None, None)
    refuse_other(SHA256, "ONNX Runtime", None)
    refuse_other(SHA256, "ONNX Runtime", SHA256)
    with pytest.raises(UserError, match=f"exported from weights of SHA-256 {'1' * 64}, and {SHA256} was given"):
        refuse_other(SHA256, "ONNX Runtime", "1" * 64)
    with pytest.raises(UserError, match="runs in torch and was exported from nothing"):
        refuse_other(SHA256, None, None)
