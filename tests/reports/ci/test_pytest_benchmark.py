"""Compare the JSON for pytest-benchmark with its own statistics, its ``compare`` and its loader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from literal_results import build_result

from bench.schema.row import Row
from reports.ci.pytest_benchmark import document, statistics, write_pytest_benchmark

stats = pytest.importorskip("pytest_benchmark.stats")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 40, 41, 42, 43])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_statistics_are_those_of_pytest_benchmark(count: int, seed: int) -> None:
    # Heavy tails, so that there are outliers of both kinds, and ties.
    samples = np.round(np.random.default_rng(seed).standard_cauchy(count) ** 2 + 0.01, 2 if seed else 12).tolist()
    theirs = stats.Stats()
    for sample in samples:
        theirs.update(sample)
    ours = statistics(samples)
    assert ours.pop("data") == samples
    assert ours.pop("iterations") == 1
    wanted = theirs.as_dict()
    assert list(ours) == list(wanted)
    assert ours.pop("outliers") == wanted.pop("outliers")
    assert ours == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_document() -> None:
    rows = [
        Row(Path("job0/result.json"), build_result("SOLOv2")),
        Row(Path("job1/result.json"), build_result(status="failed", mask_ap=None)),
    ]
    written = document(rows)
    assert list(written) == ["machine_info", "commit_info", "benchmarks", "datetime", "version"]
    assert written["commit_info"]["id"] == "0123456789abcdef"
    assert written["commit_info"]["dirty"] is True
    assert written["machine_info"]["cpu"] == {"brand_raw": "AMD EPYC 9354", "count": 32}
    assert [entry["name"] for entry in written["benchmarks"]] == [
        "solov2_torchvision[model]",
        "solov2_torchvision[end_to_end]",
    ]
    model = written["benchmarks"][0]
    assert model["fullname"] == "maskbench::solov2_torchvision[model]"
    assert model["group"] == "model"
    assert model["params"]["precision"] == "fp32"
    assert model["stats"]["data"] == [0.02, 0.03, 0.05]
    assert (model["stats"]["mean"], model["stats"]["median"]) == (pytest.approx(0.1 / 3), 0.03)


def _two_files(folder: Path) -> list[Path]:
    files = [folder / "before.json", folder / "after.json"]
    for file, factor in zip(files, (1.0, 1.5), strict=True):
        result = build_result("SOLOv2", model_ms=[factor * ms for ms in (20.0, 30.0, 50.0)])
        write_pytest_benchmark([Row(Path("job0/result.json"), result)], file)
    return files


def test_pytest_benchmark_compares_two_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest_benchmark", "compare", *map(str, _two_files(tmp_path))]
    command += ["--group-by=fullname", "--columns=mean,median,rounds", "--csv=table.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Failed to load" not in done.stderr
    assert "benchmark 'maskbench::solov2_torchvision[model]': 2 tests" in done.stdout
    assert "33.3333 (1.0)" in done.stdout  # mean of 20, 30, 50 ms
    assert "50.0000 (1.50)" in done.stdout
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert len(lines) == 5  # a header, two boundaries, before and after


@pytest.mark.usefixtures("outside_xdist")
def test_pytest_compares_a_run_with_the_file(tmp_path: Path) -> None:
    """``--benchmark-compare-fail`` compares a new benchmark with that of the file by its full name."""
    before, _ = _two_files(tmp_path)
    data = json.loads(before.read_text())
    data["benchmarks"][0]["fullname"] = "test_speed.py::test_speed"
    before.write_text(json.dumps(data))
    (tmp_path / "test_speed.py").write_text(
        "import time\ndef test_speed(benchmark): benchmark.pedantic(time.sleep, args=(0.1,), rounds=2)\n"
    )
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir=.", "-p", "no:cacheprovider"]
    command += [f"--benchmark-compare={before}", "--benchmark-compare-fail=mean:5%", "test_speed.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    told = done.stdout + done.stderr
    assert f"Comparing against benchmarks from: {before}" in told
    assert "Performance has regressed" in told
    assert "Field 'mean' has failed PercentageRegressionCheck" in told
