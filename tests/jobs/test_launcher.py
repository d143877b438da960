"""Tests whole jobs through the command: what is measured, what is kept, and the row of a worker that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.jobs.identity import job_name
from bench.schema.config import BenchConfig, DatasetConfig, ModelConfig
from bench.schema.result import Result, read_result

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["protocol.rounds=1", "protocol.min_samples=4", "protocol.precision=10", "protocol.warmup_batches=1"]
BLOBS = ["model=custom", "model._target_=toy_models.Blobs"]
DIES = ["model=custom", "model._target_=toy_models.Dies"]


def results_in(out: Path) -> list[Result]:
    return [read_result(path) for path in sorted(out.glob("jobs/*/result.json"))]


def test_a_whole_job(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    done = run_command(*BLOBS, *bright_squares, *QUICK, f"out={tmp_path}", "+model.options.delay_ms=20")
    assert done.returncode == 0, done.stderr
    [result] = results_in(tmp_path)
    assert (result.status, result.reason) == ("ok", None)
    assert result.speed is not None
    assert result.memory is not None
    assert result.accuracy is not None
    assert sum(result.seconds_by_part.values()) == pytest.approx(result.seconds, rel=0.02)
    assert {"import", "data", "build", "memory", "warm_up", "speed", "accuracy"} <= set(result.seconds_by_part)
    assert result.seconds_by_part["wait"] < 1
    # The rectangles are found exactly, so every figure that COCO defines on them is 1; none is small or large.
    assert result.accuracy.figures is not None
    assert result.accuracy.figures["mask_ap"] == pytest.approx(1.0, abs=1e-12)
    assert result.accuracy.figures["mask_ap_medium"] == pytest.approx(1.0, abs=1e-12)
    assert result.accuracy.figures["mask_ap_small"] is None
    assert result.accuracy.per_class == {"rectangle": pytest.approx(1.0, abs=1e-12)}
    assert (result.accuracy.images_evaluated, result.accuracy.images_in_dataset) == (4, 4)
    # The model sleeps 20 ms in forward and nowhere else.
    speed = result.speed
    assert len(speed.model.latency_ms) >= 4
    for timing in (speed.model, speed.end_to_end, speed.network):
        assert min(timing.latency_ms) >= 20
        assert timing.clock == "perf_counter"
    assert sorted(speed.postprocess.latency_ms)[0] < 20
    assert set(speed.detections_per_image) == {1}
    assert [60, 80] in speed.image_sizes
    assert result.memory.parameters_bytes == (10 * 10 + 10) * 4
    assert result.memory.peak_allocated_bytes is None
    assert result.memory.host_rss_bytes is not None
    predictions = json.loads(next(tmp_path.glob("jobs/*/predictions.json")).read_text())
    assert len(predictions) == 4
    assert set(predictions[0]) == {"image_id", "category_id", "segmentation", "score"}
    assert {p["category_id"] for p in predictions} == {7}
    for name in ("md", "csv", "tex", "html", "json"):
        assert (tmp_path / f"comparison.{name}").stat().st_size > 0


def test_the_second_worker_imports_while_the_first_measures_and_begins_after_it(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    model = ["model=custom", "model._target_=tells_when.TellsWhen", f"+model.options.told={told}"]
    command = [*model, "+model.options.delay_ms=700", "passes=[memory,accuracy]", *bright_squares]
    done = run_command(*command, f"out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in told.read_text().splitlines()]
    # It is constructed for the check, then in each process, which runs it on four images.
    assert [line["what"] for line in lines] == ["constructed", *2 * ["constructed", *4 * ["run"]]]
    memory, accuracy = lines[1:6], lines[6:]
    assert [len({line["process"] for line in part}) for part in (memory, accuracy)] == [1, 1]
    assert memory[0]["process"] != accuracy[0]["process"]
    assert accuracy[0]["imported"] < memory[-1]["at"] < accuracy[0]["at"]


def test_a_file_counts_by_its_content_and_not_by_its_path() -> None:
    def name(contents: dict[str, str], **changes: Any) -> str:
        config = BenchConfig(model=ModelConfig(name="m", weights="a/w.safetensors"), dataset=DatasetConfig(name="d"))
        for key, value in changes.items():
            part, _, attribute = key.partition("__")
            setattr(getattr(config, part), attribute, value)
        return job_name(config, contents)

    contents = {"dataset": "1", "weights": "2"}
    first = name(contents, dataset__annotations="here.json", dataset__images="here")
    assert name(contents, dataset__annotations="there.json", dataset__images="there") == first
    assert name(contents, model__weights="b/w.safetensors") == first
    assert name({**contents, "weights": "3"}) != first
    assert name({**contents, "dataset": "3"}) != first


def test_what_a_changed_file_changes_is_measured_anew(run_command: Any, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "1.png")
    square = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 100, "bbox": [5, 5, 10, 10]}
    square["segmentation"] = [[5, 5, 15, 5, 15, 15, 5, 15]]
    truth = {
        "images": [{"id": 1, "file_name": "1.png", "height": 30, "width": 40}],
        "annotations": [square],
        "categories": [{"id": 1, "name": "thing"}],
    }
    detection = {"image_id": 1, "category_id": 1, "score": 0.5, "segmentation": square["segmentation"]}
    files = {name: tmp_path / f"{name}.json" for name in ("annotations", "results")}
    for path, content in zip(files.values(), (truth, [detection]), strict=True):
        path.write_text(json.dumps(content))
    arguments = ["model=replay", f"model.options.results={files['results']}", "dataset=coco", "passes=[accuracy]"]
    arguments += [f"dataset.images={tmp_path / 'images'}", f"dataset.annotations={files['annotations']}", "device=cpu"]

    def measured() -> tuple[str, list[float]]:
        done = run_command(*arguments, f"out={tmp_path / 'out'}")
        assert done.returncode == 0, done.stderr
        return done.stdout, sorted(r.accuracy.figures["mask_ap"] for r in results_in(tmp_path / "out"))  # type: ignore

    assert measured()[1] == [pytest.approx(1.0)]
    assert "measured before" in measured()[0]
    # Half of the square: its IoU is 0.5, which one of ten thresholds reaches.
    detection["segmentation"] = [[5, 5, 10, 5, 10, 15, 5, 15]]
    files["results"].write_text(json.dumps([detection]))
    assert measured()[1] == [pytest.approx(0.1)]
    square["segmentation"] = detection["segmentation"]
    files["annotations"].write_text(json.dumps({**truth, "annotations": [{**square, "area": 50}]}))
    assert measured()[1] == [pytest.approx(1.0)]
    assert len(list((tmp_path / "out" / "earlier").glob("*/result.json"))) == 2


def test_random_weights_have_no_ap(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    done = run_command(*BLOBS, "model.weights=random", *bright_squares, "passes=[accuracy]", f"out={tmp_path}")
    assert done.returncode == 0, done.stderr
    [result] = results_in(tmp_path)
    assert result.accuracy is not None
    assert result.accuracy.figures is None
    assert result.accuracy.figures_absent == "weights: random"


def test_every_end_of_a_worker_is_a_row(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    expected = {
        "sigkill": ("crashed", "SIGKILL"),
        "segfault": ("crashed", "SIGSEGV"),
        "exit": ("crashed", "exit status 0"),
        "raise": ("failed", "ValueError: the layer has the wrong size"),
        "torch_oom": ("out_of_memory", "memory"),
    }
    how = [f"+model.options.how={','.join(expected)}", "passes=[memory]"]
    done = run_command(*DIES, *how, *bright_squares, f"out={tmp_path}")
    assert done.returncode == 1, done.stderr
    ended = {r.config["model"]["options"]["how"]: (r.status, r.reason) for r in results_in(tmp_path)}
    assert set(ended) == set(expected)
    for how, (status, words) in expected.items():
        assert ended[how][0] == status
        assert words in (ended[how][1] or "")
    table = (tmp_path / "comparison.csv").read_text()
    assert "SIGKILL" in table


def test_limits_of_time_and_memory(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    limits = ["protocol.time_limit_s=12", "protocol.memory_limit_gb=1.5", "passes=[memory]"]
    done = run_command(*DIES, "+model.options.how=hang,hoard", *limits, *bright_squares, f"out={tmp_path}")
    assert done.returncode == 1, done.stderr
    result_of = {r.config["model"]["options"]["how"]: r for r in results_in(tmp_path)}
    assert result_of["hang"].status == "timeout"
    assert "12 s (protocol.time_limit_s)" in (result_of["hang"].reason or "")
    assert result_of["hoard"].status == "out_of_memory"
    assert "the limit is 1.5 GB (protocol.memory_limit_gb)" in (result_of["hoard"].reason or "")


def test_the_same_command_runs_only_what_is_missing(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    command = [*BLOBS, *bright_squares, f"out={tmp_path}"]
    assert run_command(*command, "passes=[memory]").returncode == 0
    [first] = results_in(tmp_path)
    assert first.accuracy is None
    assert run_command(*command, "passes=[memory,accuracy]").returncode == 0
    [second] = results_in(tmp_path)
    assert second.accuracy is not None
    assert second.memory == first.memory
    began = time.monotonic()
    third = run_command(*command, "passes=[memory,accuracy]")
    assert "measured before" in third.stdout
    assert third.returncode == 0
    assert results_in(tmp_path) == [second], f"after {time.monotonic() - began:.1f} s"


def test_rounds_of_models_are_interleaved_and_added(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    command = [
        *BLOBS,
        "+model.options.delay_ms=1,2",
        *bright_squares,
        *QUICK,
        f"out={tmp_path}",
        "passes=[speed,memory]",
    ]
    done = run_command(*command, "protocol.rounds=2")
    assert done.returncode == 0, done.stderr
    ended = [line for line in done.stdout.splitlines() if line.startswith("[") and ": ok (" in line]
    heads = [line.split(" Blobs")[0] for line in ended]
    assert heads == ["[1/2] round 1 of 2", "[2/2] round 1 of 2", "[1/2] round 2 of 2", "[2/2] round 2 of 2"]
    two = results_in(tmp_path)
    for result in two:
        assert result.speed is not None
        assert [part.samples for part in result.speed.rounds] == [8, 8]  # two laps of 4: fewer than 6 give no interval
        assert len(result.speed.network.latency_ms) == 16
    # The same command with one round more adds it to what is there.
    assert run_command(*command, "protocol.rounds=3").returncode == 0
    for before, after in zip(two, results_in(tmp_path), strict=True):
        assert after.speed is not None
        assert before.speed is not None
        assert len(after.speed.rounds) == 3
        assert after.speed.model.latency_ms[:16] == before.speed.model.latency_ms
        assert after.memory == before.memory


def test_a_replay_is_not_run_again_for_passes_it_cannot_have(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    command = ["model=custom", "model._target_=toy_models.Echo", *bright_squares, f"out={tmp_path}"]
    assert run_command(*command).returncode == 0
    [result] = results_in(tmp_path)
    assert result.speed is None
    assert result.accuracy is not None
    assert result.accuracy.detections == 0
    assert "measured before" in run_command(*command).stdout


def test_passes_measured_before_a_worker_dies_are_kept_and_not_measured_again(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    # The memory pass takes four batches; the fifth, in the speed pass, kills the worker.
    command = [*DIES, "+model.options.how=sigkill", "+model.options.after=5", *bright_squares, *QUICK]
    assert run_command(*command, f"out={tmp_path}").returncode == 1
    [first] = results_in(tmp_path)
    assert first.status == "crashed"
    assert first.memory is not None
    assert first.speed is None
    assert run_command(*command, f"out={tmp_path}").returncode == 1
    [second] = results_in(tmp_path)
    assert second.memory == first.memory


def _start(environment: dict[str, str], out: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_bench.py"), f"out={out}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=out.parent,
        # A shell starts what it puts into the background with SIGINT ignored, and so may a CI system.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _wait_for(condition: Any, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not come in time")


def _measured(out: Path, name: str) -> bool:
    return any(getattr(result, name) is not None for result in results_in(out))


def test_ctrl_c_leaves_what_was_measured_and_a_report(
    environment: dict[str, str], bright_squares: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    slow = ["+model.options.delay_ms=300", "protocol.min_samples=1000", "protocol.max_seconds=100"]
    command = _start(environment, out, *BLOBS, *bright_squares, *slow)
    _wait_for(lambda: _measured(out, "memory"))
    command.send_signal(signal.SIGINT)
    output, errors = command.communicate(timeout=60)
    assert command.returncode == 130, errors
    [result] = results_in(out)
    assert (result.status, result.reason) == ("failed", "interrupted")
    assert result.memory is not None
    assert (out / "comparison.html").exists()
    assert "interrupted" in output


def test_a_worker_killed_from_outside_leaves_the_other_rows_ok(
    environment: dict[str, str], bright_squares: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    delays = ["+model.options.delay_ms=1,500,2", *QUICK]
    command = _start(environment, out, *BLOBS, *bright_squares, *delays)

    def slow_worker() -> int | None:
        for path in out.glob("jobs/*/job.json"):
            if json.loads(path.read_text())["config"]["model"]["options"]["delay_ms"] == 500:
                # The process of the memory pass ends by itself; this is the process of the other passes.
                pattern = f"bench/jobs/worker/bootstrap.py {path.parent} [0-9]+ speed,"
                processes = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False)
                return int(processes.stdout.split()[0]) if processes.stdout else None
        return None

    pid = _wait_for(slow_worker)
    os.kill(pid, signal.SIGKILL)
    command.communicate(timeout=120)
    assert command.returncode == 1
    statuses = {r.config["model"]["options"]["delay_ms"]: r.status for r in results_in(out)}
    assert statuses == {1: "ok", 500: "crashed", 2: "ok"}


def test_another_interpreter(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    done = run_command(*BLOBS, f"model.python={sys.executable}", "passes=[memory]", *bright_squares, f"out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert results_in(tmp_path)[0].status == "ok"


def test_an_absent_library_is_a_skipped_row(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    target = "model._target_=toy_models.NeedsAbsentLibrary,toy_models.Blobs"
    done = run_command("model=custom", target, "passes=[memory]", *bright_squares, f"out={tmp_path}")
    assert done.returncode == 0, done.stderr
    result_of = {r.config["model"]["_target_"]: r for r in results_in(tmp_path)}
    assert result_of["toy_models.Blobs"].status == "ok"
    skipped = result_of["toy_models.NeedsAbsentLibrary"]
    assert skipped.status == "skipped"
    assert "a_library_that_nobody_has is not installed" in (skipped.reason or "")


def test_wrong_masks_are_a_failed_row(run_command: Any, bright_squares: list[str], tmp_path: Path) -> None:
    target = "model._target_=toy_models.GivesHalfMasks"
    done = run_command("model=custom", target, "passes=[accuracy]", *bright_squares, f"out={tmp_path}")
    assert done.returncode == 1
    assert "Instances.masks is" in (results_in(tmp_path)[0].reason or "")


def test_what_was_measured_in_another_way_is_measured_anew(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    arguments = [*BLOBS, *bright_squares, *QUICK, "passes=[memory]", f"out={tmp_path}"]
    assert run_command(*arguments).returncode == 0
    [path] = tmp_path.glob("jobs/*/result.json")
    first = read_result(path)
    data = json.loads(path.read_text())
    data["measurement_version"] = first.measurement_version - 1
    path.write_text(json.dumps(data))
    assert "measured before" not in run_command(*arguments).stdout
    again = read_result(path)
    assert again.measurement_version == first.measurement_version
    assert again.started != first.started
    assert "measured before" in run_command(*arguments).stdout


def test_memory_is_measured_in_a_process_of_its_own_and_hardly_differs(
    run_command: Any, bright_squares: list[str], tmp_path: Path
) -> None:
    """The memory of jobs that sleep for different times differs by less than half a percent.

    With glibc's moving threshold it differs by three.
    """
    sleeps = ["+model.options.delay_ms=1,2,3", "passes=[memory]"]
    assert run_command(*BLOBS, *sleeps, *bright_squares, f"out={tmp_path}").returncode == 0
    results = results_in(tmp_path)
    assert len(results) == 3
    peaks = [result.memory.host_rss_bytes or 0 for result in results if result.memory is not None]
    assert len(peaks) == 3
    assert max(peaks) - min(peaks) < 0.005 * min(peaks), peaks
