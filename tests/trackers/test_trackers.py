"""Tests that real MLflow and real wandb hold the figures of the results, and that they cost no verdict."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from literal_results import build_result

import reports
from bench.cli.tracking.track import track
from bench.errors import UserError
from bench.schema.config import TrackerConfig
from bench.schema.result import Result, read_result, write_result
from bench.trackers.tracked import KNOWN_RUNS, RESULT
from run_bench import compose, main

EXPERIMENT = "mask models"


def results() -> list[Result]:
    return [
        build_result(mask_ap=0.372),
        build_result("SOLO", mask_ap=0.311, precision="fp16"),
        build_result("SOLOv2", status="crashed", reason="the worker was killed by SIGSEGV"),
    ]


def write(out: Path, made: Sequence[Result]) -> Path:
    for number, result in enumerate(made):
        folder = out / "jobs" / f"job{number}"
        write_result(result, folder / "result.json")
        (folder / "predictions.json").write_text('[{"image_id": 1}]')
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with its report."""
    out = write(tmp_path_factory.mktemp("runs") / "study-1", results())
    reports.build([out], out)
    return out


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mlflow")
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def logged(run: Path, store: Path) -> Iterator[tuple[Any, list[str]]]:
    """MLflow's client of a store in which the folder was logged twice, and what was said."""
    from mlflow import MlflowClient

    said: list[str] = []
    before = Path.cwd()
    os.chdir(store)  # MLflow's own default keeps artifacts in the current folder
    try:
        config = TrackerConfig("mlflow", uri=f"sqlite:///{store / 'mlflow.db'}", experiment=EXPERIMENT)
        track(config, run, run, said.append)
        track(config, run, run, said.append)
        yield MlflowClient(tracking_uri=config.uri), said
    finally:
        os.chdir(before)


def _runs(client: Any) -> dict[str, Any]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id])
    return {one.info.run_name: one for one in found}


def test_mlflow_holds_the_figures_of_the_results_once(run: Path, logged: tuple[Any, list[str]]) -> None:
    client, said = logged
    assert all(line.startswith(f"tracker: mlflow, experiment {EXPERIMENT}, run study-1 (") for line in said), said
    runs = _runs(client)
    assert len(runs) == 4, "one of the study and one for each row, though it was logged twice"
    by_job = {one.data.tags.get("maskbench.job"): one for one in runs.values()}
    for number, threshold in ((0, 37.2), (1, 31.1)):
        result = read_result(run / "jobs" / f"job{number}" / "result.json")
        one = by_job[f"job{number}"]
        assert result.accuracy is not None
        assert result.accuracy.figures is not None
        assert result.accuracy.confidence_interval is not None
        assert one.data.metrics["mask_ap"] == pytest.approx(threshold)
        assert one.data.metrics["mask_ap"] == pytest.approx(100 * (result.accuracy.figures["mask_ap"] or 0))
        ends = [one.data.metrics[f"mask_ap_{end}"] for end in ("low", "high")]
        assert ends == pytest.approx([100 * end for end in result.accuracy.confidence_interval])
        assert one.data.metrics["fps_model"] == pytest.approx(3 / 0.1), "three batches of one image in 100 ms"
        assert one.data.params["precision"] == ("fp16" if number else "fp32")
        assert one.data.params["gpu"] == "NVIDIA H200"
        assert one.data.params["version.torch"] == "2.14.1"
        assert one.info.status == "FINISHED"
        assert one.data.tags["mlflow.parentRunId"] == runs["study-1"].info.run_id
    failed = by_job["job2"]
    assert (failed.info.status, failed.data.metrics) == ("FAILED", {})
    assert failed.data.tags["maskbench.reason"] == "the worker was killed by SIGSEGV"
    assert runs["study-1"].info.status == "FAILED"


def test_mlflow_has_the_report_and_the_predictions(run: Path, logged: tuple[Any, list[str]], tmp_path: Path) -> None:
    client, _ = logged
    runs = _runs(client)
    whole = runs["study-1"].info.run_id
    page = Path(client.download_artifacts(whole, "report/comparison.html", str(tmp_path)))
    assert page.read_bytes() == (run / "comparison.html").read_bytes()
    row = next(one for one in runs.values() if one.data.tags.get("maskbench.job") == "job0")
    assert {file.path for file in client.list_artifacts(row.info.run_id)} == {RESULT, "predictions.json"}
    # A report of everything below must not take what MLflow keeps for rows.
    assert not list(page.parents[0].rglob("result.json"))


def test_mlflow_shows_the_figures_in_its_own_page(store: Path, logged: tuple[Any, list[str]]) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}"]
    command += ["--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        **{"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    }
    with subprocess.Popen(command, cwd=store, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
                          start_new_session=True) as server:  # fmt: skip
        try:
            if not _answers(f"{address}/health", server):
                pytest.skip("mlflow server did not start within 40 s")
            client, _ = logged
            experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
            row = next(one for one in _runs(client).values() if one.data.tags.get("maskbench.job") == "job1")
            with sync.sync_playwright() as driver:
                found = shutil.which("chromium") or shutil.which("google-chrome")
                browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
                page = browser.new_page()
                page.goto(f"{address}/#/experiments/{experiment}/runs/{row.info.run_id}")
                page.get_by_text("mask_ap_low").first.wait_for(timeout=30_000)
                text = page.inner_text("body")
                browser.close()
            assert "31.1" in text
            assert "fp16" in text
        finally:
            os.killpg(server.pid, 9)


def _answers(address: str, server: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + 40
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return True
        except OSError:
            time.sleep(0.2)
    return False


def test_wandb_writes_the_figures_into_its_files_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    out = write(tmp_path / "runs" / "study-2", results()[:2])
    (out / "comparison.html").write_text("<p>the report</p>")
    said: list[str] = []
    track(TrackerConfig("wandb", project="masks"), out, out, said.append)
    assert said
    assert said[0].startswith("tracker: wandb, project masks, group study-2; wandb sync ")
    files = sorted((out / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 3
    read = [_read_offline(file) for file in files]
    by_name = {one["name"]: one for one in read}
    solo = next(one for name, one in by_name.items() if name.startswith("SOLO"))
    assert solo["summary"]["mask_ap"] == pytest.approx(31.1)
    assert solo["summary"]["mask_ap_low"] == pytest.approx(29.6)
    assert solo["config"]["precision"] == "fp16"
    assert solo["group"] == "study-2"
    kept = {name for one in read for name in one["files"]}
    assert {"comparison.html", "predictions.json", RESULT} <= kept
    assert {one["host"] for one in read} == {"maskbench"}, "wandb would send the name of this machine"
    assert not any("environment" in one["kinds"] for one in read), "and its user, its folders and its command line"
    assert len(reports_rows(out)) == 2, "what wandb keeps below the folder is no row"
    ids = json.loads((out / KNOWN_RUNS).read_text())["wandb masks"]
    track(TrackerConfig("wandb", project="masks"), out, out, said.append)
    assert json.loads((out / KNOWN_RUNS).read_text())["wandb masks"] == ids


def reports_rows(out: Path) -> list[Path]:
    from reports.table.comparison import find_results

    return find_results([out])


def _read_offline(path: Path) -> dict[str, Any]:
    """Read a run back from the file that `wandb sync` would send, by wandb's own description of its records."""
    from wandb.proto import wandb_internal_pb2 as records

    found: dict[str, Any] = {"summary": {}, "config": {}, "files": set(), "kinds": set()}
    for data in _records(path.read_bytes()):
        record = records.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        found["kinds"].add(kind)
        if kind == "run":
            found |= {"name": record.run.display_name, "group": record.run.run_group, "host": record.run.host}
            found["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "summary":
            found["summary"] |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "artifact":
            found["files"] |= {entry.path for entry in record.artifact.manifest.contents}
        elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
            found["files"] |= {entry.path for entry in record.request.log_artifact.artifact.manifest.contents}
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """Give the records of a log of LevelDB's form: blocks of 32 KiB, and 7 bytes before each part of a record.

    https://github.com/google/leveldb/blob/main/doc/log_format.md; wandb's begins with 7 bytes of its own.
    """
    place, whole = 7, b""
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # all of a record, or the last part of one
            yield whole
            whole = b""


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def test_a_tracker_that_fails_is_a_line_and_no_more(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlflow")
    said: list[str] = []
    config = TrackerConfig("mlflow", uri="sqlite:////proc/nowhere/at/all/mlflow.db")
    track(config, run, run, said.append)
    told = capsys.readouterr().err
    assert said == []
    warnings = [line for line in told.splitlines() if line.startswith("warning: tracker=mlflow: ")]
    assert len(warnings) == 1
    assert warnings[0].endswith(f"the results are in {run} all the same")


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_an_absent_library_is_told_before_anything_runs(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda one, *rest: None if one == name else found(one, *rest))
    assert main([f"tracker={name}", "out=run"]) == 2
    told = capsys.readouterr().err
    assert (
        f"tracker={name}: {name} is not installed in {sys.executable}; {sys.executable} -m pip install {name}" in told
    )
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["tracker=mlflow", "tracker.uri=http://me:hunter22@host:5000"],
            "tracker.uri=http://host:5000: holds a password",
        ),
        (["tracker=mlflow", "tracker.uri=https://host/?token=hunter22"], "tracker.uri=https://host/?token=***: holds"),
        (["tracker=wandb", "tracker.uri=http://host"], "tracker.uri: only tracker=mlflow has it"),
        (["tracker.project=a"], "tracker.project: only tracker=wandb has it, and this is tracker=none"),
        (["tracker=wandb", "tracker.mode=offlin"], "tracker.mode=offlin: unknown, must be offline or online"),
        (["tracker=mlflo"], "mlflo"),
    ],
)
def test_a_wrong_key_or_a_secret_is_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)) as refused:
        compose(arguments)
    assert "hunter22" not in str(refused.value)


def test_a_result_does_not_say_where_it_is_tracked() -> None:
    import dataclasses

    from bench.private.paths import publishable_config

    [job] = compose(["model=demo_solo_mmdet", "tracker=mlflow", "tracker.uri=sqlite:////data/of/mine/mlflow.db"])
    assert "of/mine" not in json.dumps(publishable_config(dataclasses.asdict(job.config)))


def test_a_tracker_changes_no_job(run_once: Callable[..., Any]) -> None:
    from bench.jobs.identity import job_name

    [plain] = compose(["model=demo_solo_mmdet"])
    [tracked] = compose(["model=demo_solo_mmdet", "tracker=wandb", "tracker.project=other"])
    assert job_name(plain.config, {}) == job_name(tracked.config, {})
