"""Tests the pytest plugin: what a check says, that nothing is measured twice or at once, and what it costs."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from python_path import python_path

from bench.cli.maskbench_pytest.session import Maskbench
from bench.schema.config import BenchConfig
from bench.schema.parts.accuracy import AccuracyResult
from bench.schema.parts.speed import HostReadings, SpeedResult, SpeedRound, Timing
from bench.schema.result import Result, write_result

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

FAKE_COMMAND = """
import json, shutil, sys
from pathlib import Path
from filelock import FileLock, Timeout
folder = Path({folder!r})
try:
    FileLock({lock!r}, timeout=0).acquire()
    held = False
except Timeout:
    held = True
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps([*sys.argv[1:], held]) + "\\n")
out = next(a for a in sys.argv if a.startswith("out=")).removeprefix("out=")
shutil.copytree(folder / "prepared", out + "/jobs")
print({words!r})
sys.exit({status})
"""


def _result(status: str = "ok", reason: str | None = None, mask_ap: float | None = 0.3) -> Result:
    """Make a result of 20 images a second and a mask AP of 30 points, with an interval of 1.5 points to both sides."""
    config = dataclasses.asdict(BenchConfig())
    config["protocol"]["min_samples"] = 3
    config["model"].update(name="toy", family="Toy", backbone="R0", library="own", weights="own")
    result = Result(status, config, reason)
    if status == "ok":
        batch = Timing([49.0, 50.0, 51.0], "perf_counter")
        speed_round = SpeedRound(3, 60.0, [], True)
        result.speed = SpeedResult(1, [speed_round], batch, batch, batch, batch, batch, [1, 1, 1], [[480, 640]] * 3, [])
        result.accuracy = AccuracyResult("hotcoco", "1.3.0", 4, 4, 4, "keep", "predictions.json")
        if mask_ap is not None:
            result.accuracy.figures = {"mask_ap": mask_ap}
            result.accuracy.confidence_interval = [mask_ap - 0.015, mask_ap + 0.015]
    return result


Fake = Callable[..., Path]


@pytest.fixture
def fake_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Replace the command by one that gives prepared results and notes each call, and whether the lock was held."""

    def fake(*results: Result, status: int = 0, words: str = "") -> Path:
        lock = str(tmp_path / "lock")
        for number, result in enumerate(results):
            write_result(result, tmp_path / "prepared" / f"job{number}" / "result.json")
        (tmp_path / "prepared").mkdir(exist_ok=True)
        script = tmp_path / "fake.py"
        script.write_text(FAKE_COMMAND.format(folder=str(tmp_path), lock=lock, words=words, status=status))
        monkeypatch.setattr("bench.cli.maskbench_pytest.session.COMMAND", script)
        monkeypatch.setattr("bench.cli.maskbench_pytest.session.measuring_lock", lambda: lock)
        return tmp_path

    return fake


def _calls(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def test_a_check_that_holds_gives_the_rows(fake_command: Fake) -> None:
    folder = fake_command(_result())
    maskbench = Maskbench(folder / "out", device="cuda:1", session="one")
    [row] = maskbench.check("toy", "precision=fp16", fps_model=">= 20", mask_ap=">29.5", library="== own")
    assert (row["fps_model"], row["model"]) == (pytest.approx(20.0), "Toy")
    [call] = _calls(folder)
    assert call[:4] == ["study=none", "model=toy", "device=cuda:1", "precision=fp16"]
    assert call[-1] is True  # nobody else could measure meanwhile


def test_equal_arguments_are_measured_once(fake_command: Fake) -> None:
    folder = fake_command(_result())
    one, other = (Maskbench(folder / "out", session="one") for _ in range(2))  # as two workers of one pytest session
    for maskbench in (one, one, other):
        maskbench.check("toy", fps_model="> 1")
    assert len(_calls(folder)) == 1
    one.check("toy", "precision=fp16")
    assert len(_calls(folder)) == 2
    Maskbench(folder / "out", session="two").check("toy")  # the next pytest session: the code may have changed
    assert len(_calls(folder)) == 3


def test_every_violated_condition_is_told(fake_command: Fake) -> None:
    folder = fake_command(_result())
    maskbench = Maskbench(folder / "out")
    conditions = {"fps_model": ">= 25", "mask_ap": ">= 34", "peak_allocated_mb": "<= 8000", "latency_ms_p50": "< 60"}
    with pytest.raises(pytest.fail.Exception) as failure:
        maskbench.check("toy", **conditions)
    label, *violations, path = str(failure.value).splitlines()
    assert label == "Toy R0 · own:"
    assert violations == [
        "  fps_model >= 25: 20.00 images/s [19.05, 21.05]",
        "  mask_ap >= 34: 30.0 points [28.5, 31.5]",
        "  peak_allocated_mb <= 8000: not measured",
    ]
    assert Path(path.strip()).name == "result.json"
    assert Path(path.strip()).exists()


def _disturbed() -> Result:
    """Make a result of 20 images a second that others disturbed, with fewer samples than asked for."""
    result = _result()
    assert result.speed is not None
    result.speed.rounds[0].host = HostReadings([40.0], [0.0], 3)
    result.config["protocol"]["min_samples"] = 30
    return result


def test_a_failure_tells_the_marks_of_the_row(fake_command: Fake) -> None:
    folder = fake_command(_disturbed())
    with pytest.raises(pytest.fail.Exception) as failure:
        Maskbench(folder / "out", session="one").check("toy", fps_model=">= 1000")
    _, violation, *marks, _ = str(failure.value).splitlines()
    assert violation.startswith("  fps_model >= 1000: 20.00 images/s")
    assert [mark.split(";")[0] for mark in marks] == [
        "  disturbed: 100 % of its batches were timed while other programs took the cores, 40 % of their time",
        "  few samples: 3 batches were timed, protocol.min_samples asks for 30",
    ]
    with pytest.raises(pytest.fail.Exception) as failure:
        Maskbench(folder / "out", session="one").check("toy", mask_ap=">= 90")
    assert "disturbed" not in str(failure.value)  # which changes no AP


def test_a_pass_that_means_little_warns(fake_command: Fake, recwarn: pytest.WarningsRecorder) -> None:
    folder = fake_command(_disturbed())
    Maskbench(folder / "out", session="one").check("toy", mask_ap=">= 1")
    assert not recwarn.list
    Maskbench(folder / "out", session="one").check("toy", fps_model=">= 1")
    texts = [str(warning.message) for warning in recwarn.list]
    assert [text.split(": ")[:3] for text in texts] == [
        ["maskbench", "Toy R0 · own", name] for name in ("disturbed", "few samples")
    ]
    assert recwarn.list[0].filename == __file__


def test_a_pass_of_a_figure_of_noise_warns(fake_command: Fake) -> None:
    result = _result(mask_ap=None)
    result.config["model"]["weights"] = "random"
    folder = fake_command(result)
    with pytest.warns(UserWarning, match="fps_end_to_end, not to be compared: with random weights the masks are noise"):
        Maskbench(folder / "out").check("toy", fps_end_to_end=">= 1")


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"fps_modle": ">= 20"}, "fps_modle: no such column; did you mean fps_model"),
        (
            {"fps_model": "=> 20"},
            "fps_model='=> 20': must be one of == != >= <= > < and a value, as fps_model=\">= 20\"",
        ),
        ({"fps_model": 20}, "fps_model=20: must be one of"),
        ({"latency_ms_p50": "<= 20ms"}, "'20ms' is no number; give one, as latency_ms_p50=\"<= 100\""),
        ({"library": ">= own"}, "library='>= own': holds text"),
    ],
)
def test_a_wrong_condition_is_told_before_anything_runs(
    conditions: dict[str, Any], told: str, fake_command: Fake
) -> None:
    folder = fake_command(_result())
    with pytest.raises(pytest.fail.Exception) as failure:
        Maskbench(folder / "out").check("toy", **conditions)
    assert told in str(failure.value)
    assert "\n" not in str(failure.value)
    assert not (folder / "calls").exists()


def test_how_a_job_ends(fake_command: Fake) -> None:
    folder = fake_command(_result("skipped", "mmdet is not installed"))
    with pytest.raises(pytest.skip.Exception, match="mmdet is not installed"):
        Maskbench(folder / "out").check("toy", fps_model=">= 20")
    folder = fake_command(_result("crashed", "the worker was killed by SIGKILL"), status=1)
    with pytest.raises(pytest.fail.Exception, match="crashed: the worker was killed by SIGKILL"):
        Maskbench(folder / "out").check("toy", fps_model=">= 20")
    folder = fake_command(status=2, words="maskbench: model=toy: no such model; did you mean boy?")
    for _ in range(2):  # a refusal is remembered too
        with pytest.raises(pytest.fail.Exception, match=r"^maskbench: model=toy: no such model; did you mean boy\?$"):
            Maskbench(folder / "out", session="one").check("toy")
    assert len(_calls(folder)) == 3
    with pytest.raises(pytest.fail.Exception, match="out=: is given by check"):
        Maskbench(folder / "out").check("toy", "out=here")


@pytest.mark.usefixtures("outside_xdist")
def test_an_empty_option_is_refused(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", python_path(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile("def test_toy(maskbench): pass")
    done = pytester.runpytest_subprocess("-p", "bench.cli.maskbench_pytest", "--maskbench-device=")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*--maskbench-device is empty (an unset variable?)*"])


def test_nothing_of_the_users_is_deleted(fake_command: Fake) -> None:
    folder = fake_command(_result())
    maskbench = Maskbench(folder / "out", session="one")
    maskbench.check("toy")
    [measured] = (folder / "out").iterdir()
    (measured / "pytest_session.json").unlink()
    with pytest.raises(pytest.fail.Exception, match="is in the way; delete it"):
        Maskbench(folder / "out", session="two").check("toy")
    assert measured.exists()


def test_the_plugin_costs_nothing_where_it_is_not_used() -> None:
    heavy = "torch numpy pandas scipy hydra omegaconf filelock"
    heavy += " bench.schema.result bench.cli.maskbench_pytest.session reports.table.columns"
    code = f"import sys, bench.cli.maskbench_pytest; print(sorted(set({heavy.split()!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


WITH_A_BENCHMARK = """
def test_toy(maskbench): maskbench.check("toy", fps_model=">= 20")
def test_own(benchmark): benchmark.pedantic(sum, args=([1, 2],), rounds=2)
"""


@pytest.mark.usefixtures("outside_xdist")
def test_samples_stand_beside_those_of_the_benchmark_fixture(
    pytester: pytest.Pytester, fake_command: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake_command(_result())
    monkeypatch.setenv("PYTHONPATH", python_path(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(WITH_A_BENCHMARK)
    pytester.makeconftest(
        "import pathlib, bench.cli.maskbench_pytest.session as session\n"
        f"session.COMMAND = pathlib.Path({str(folder / 'fake.py')!r})\n"
    )
    plugins = ["-p", "pytest_benchmark.plugin", "-p", "bench.cli.maskbench_pytest"]
    pytester.runpytest_subprocess(*plugins, "--benchmark-json=speed.json").assert_outcomes(passed=2)
    written = json.loads((pytester.path / "speed.json").read_text())
    assert [entry["name"] for entry in written["benchmarks"]] == ["test_own", "toy[model]", "toy[end_to_end]"]
    assert written["benchmarks"][1]["stats"]["data"] == [0.049, 0.05, 0.051]


TESTS = """
import pytest

ARGUMENTS = ["model._target_=toy_models.Blobs", *{dataset}, "protocol=quick", "passes=[speed]"]
ARGUMENTS += ["protocol.max_seconds=0.2", "protocol.max_warmup_seconds=0.1"]

@pytest.mark.parametrize("number", [1, 2])
def test_speed(maskbench, number):
    [row] = maskbench.check("custom", *ARGUMENTS, fps_model="> 0.001", latency_ms_p50="> 0", status="== ok")
    print("fps", repr(row["fps_model"]))

def test_too_slow(maskbench):
    maskbench.check("custom", *ARGUMENTS, fps_model=">= 1e9", mask_ap=">= 34")
"""


def test_under_xdist_a_model_is_measured_once(
    pytester: pytest.Pytester, bright_squares: list[str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs the real command in two workers, and the samples are in pytest-benchmark's JSON."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{environment['PYTHONPATH']}")
    monkeypatch.setenv("MASKBENCH_CACHE", environment["MASKBENCH_CACHE"])
    pytester.makepyfile(TESTS.format(dataset=bright_squares))
    # Without the other plugins that are installed, and with this one from this checkout.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ["-p", "xdist", "-p", "pytest_benchmark.plugin", "-p", "bench.cli.maskbench_pytest"]
    options = ["-n", "2", "-rP", "--maskbench-out=out", "--benchmark-json=speed.json"]
    done = pytester.runpytest_subprocess(*plugins, *options, timeout=300)
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(["*fps_model >= 1e9: * images/s*", "*mask_ap >= 34: not measured", "*result.json"])
    assert len(list(pytester.path.glob("out/*/jobs/*/result.json"))) == 1
    fps = [line for line in done.outlines if line.startswith("fps ")]
    assert len(fps) == 2
    assert len(set(fps)) == 1
    written = json.loads((pytester.path / "speed.json").read_text())
    assert [entry["name"] for entry in written["benchmarks"]] == ["Blobs[model]", "Blobs[end_to_end]"]
    samples = written["benchmarks"][0]["stats"]["data"]
    assert float(fps[0].removeprefix("fps ")) == pytest.approx(len(samples) / sum(samples))
    assert written["machine_info"]["python_version"]
