"""Tests results in a notebook: the frames against the files' own numbers, and the notebook of the documentation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from literal_results import build_result, with_replicates
from python_path import python_path

import maskbench
from bench.errors import UserError
from bench.schema.result import write_result

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"

FIRST, SECOND = "Mask R-CNN R50-FPN · torchvision", "SOLO R50-FPN · torchvision"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rows = [
        with_replicates(build_result(mask_ap=0.372), [0.36, 0.37, 0.38], [0.26, 0.27, 0.28]),
        with_replicates(build_result("SOLO", mask_ap=0.311, model_ms=(10.0, 10.0, 20.0)), [0.30, 0.31, 0.32]),
        build_result("SOLOv2", status="crashed", reason="the worker was killed by SIGSEGV"),
    ]
    for number, result in enumerate(rows):
        write_result(result, folder / "jobs" / f"job{number}" / "result.json")
    return folder


def test_the_frame_is_the_table_and_its_names_say_the_units(run: Path) -> None:
    loaded = maskbench.load(run)
    assert len(loaded) == 3
    assert loaded.frame.loc[FIRST, "mask_ap"] == pytest.approx(37.2)
    assert loaded.frame.loc[SECOND, "fps_model"] == pytest.approx(1000 * 3 / 40)
    assert pd.isna(loaded.frame["fps_model"].iloc[2])
    assert loaded.units["mask_ap"] == loaded.frame.attrs["units"]["mask_ap"] == "points"
    names = set(loaded.with_units.columns)
    assert {"mask_ap_points", "fps_model_images_per_s", "latency_ms_p50", "host_rss_mb", "energy_j_per_image"} <= names
    assert {"gpu_busy_percent", "fits_in_gb", "batch_size_images", "detections_per_image", "parameters_m"} <= names
    pd.testing.assert_series_equal(loaded.with_units["mask_ap_points"], loaded.frame["mask_ap"], check_names=False)


def test_the_samples_are_those_of_the_files(run: Path) -> None:
    samples = maskbench.load(str(run)).samples
    model = samples[(samples["row"] == SECOND) & (samples["timing"] == "model")]
    assert model["latency_ms"].tolist() == [10.0, 10.0, 20.0]
    assert model["batch"].tolist() == [0, 1, 2]
    assert set(model["round"]) == {1}
    stored = json.loads((run / "jobs" / "job1" / "result.json").read_text())["speed"]
    for timing, of_timing in samples[samples["row"] == SECOND].groupby("timing"):
        assert of_timing["latency_ms"].tolist() == stored[timing]["latency_ms"]
    assert set(samples["row"]) == {FIRST, SECOND}, "a row that crashed has no sample"


def test_the_replicates_and_the_classes_are_in_points(run: Path) -> None:
    loaded = maskbench.load(run)
    drawn = loaded.replicates[loaded.replicates["metric"] == "mask_ap"].pivot(
        index="replicate", columns="row", values="points"
    )
    assert (drawn[FIRST] - drawn[SECOND]).tolist() == pytest.approx([6.0, 6.0, 6.0])
    classes = loaded.classes.set_index(["row", "category"])["mask_ap"]
    assert classes[FIRST, "person"] == pytest.approx(37.2 * 1.1)
    assert pd.isna(classes[FIRST, "hair drier"])


def test_several_folders_are_one_frame_and_a_wrong_one_is_told(run: Path, tmp_path: Path) -> None:
    write_result(build_result("HTC"), tmp_path / "jobs" / "job0" / "result.json")
    assert len(maskbench.load(run, tmp_path)) == 4
    with pytest.raises(UserError, match="no such file or folder"):
        maskbench.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="give a folder of results"):
        maskbench.load()


def test_a_run_of_failures_alone_has_empty_frames(tmp_path: Path) -> None:
    write_result(build_result(status="crashed"), tmp_path / "jobs" / "job0" / "result.json")
    loaded = maskbench.load(tmp_path)
    assert loaded.samples.empty
    assert loaded.replicates.empty
    assert loaded.classes.empty


def test_a_notebook_beside_a_package_of_the_same_name_finds_ours_and_no_torch(run: Path, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("raise ImportError('the bench of somebody else')")
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); import maskbench; frame = maskbench.load({str(run)!r}).frame; "
        "print(len(frame), 'torch' in sys.modules, 'hydra' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "3 False False\n", done.stderr


def test_the_notebook_runs_and_shows_the_figures(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells), (
        "outputs are stripped"
    )
    monkeypatch.setenv("MASKBENCH_RUN", str(run))
    monkeypatch.setenv("PYTHONPATH", python_path(ROOT))
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = "".join(str(output) for cell in notebook.cells for output in cell.get("outputs", ()))
    for text in ("37.2", "31.1", "75.0", "mask_ap_points", "maskbench results: 3 rows"):
        assert text in shown, text
