"""Compare the description of the machine with the system's own files, and with the GPUs of a fake NVML."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy
import psutil
import pytest
import torch
from fake_nvml import UUID, FakeNvml

from bench.device import machine
from bench.device.gpu import nvml_state
from bench.device.machine import PACKAGES, describe
from bench.schema.parts.speed import HostReadings
from reports.table.machine import load_text, machine_text, pinned_text

ROOT = Path(__file__).resolve().parents[2]


def test_processor_memory_and_system() -> None:
    described = describe("cpu")
    assert described["cpu"]["logical_cores"] == psutil.cpu_count()
    assert described["cpu"]["physical_cores"] == psutil.cpu_count(logical=False)
    assert described["cpu"]["usable_cores"] == len(psutil.Process().cpu_affinity())
    assert described["host_memory_bytes"] == psutil.virtual_memory().total
    assert described["python"] == ".".join(map(str, sys.version_info[:3]))
    assert platform.release() in described["os"]
    assert described["gpu"] is None
    assert described["notes"] == []


def test_processor_name_is_lscpus() -> None:
    if shutil.which("lscpu") is None:
        pytest.skip("lscpu is not installed")
    lines = subprocess.run(["lscpu"], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout
    names = [line.partition(":")[2].strip() for line in lines.splitlines() if line.startswith("Model name:")]
    if platform.machine() != "x86_64":
        pytest.skip("only x86 spells its model name in /proc/cpuinfo")
    assert describe("cpu")["cpu"]["name"] in names


def test_versions_without_an_import() -> None:
    versions = describe("cpu")["versions"]
    assert versions["torch"] == torch.__version__
    assert versions["numpy"] == numpy.__version__
    assert versions.get("cuda") == torch.version.cuda
    installed = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}
    for name in set(PACKAGES) - {"torch"}:
        assert versions.get(name) == installed.get(name)
    assert not {"torchvision", "mmdet", "mmcv", "detectron2", "transformers"} & {*PACKAGES, *versions}
    asked = describe("cpu", ("scipy", "torch", "a-library-that-nobody-has"))["versions"]
    assert asked == {**versions, "scipy": installed["scipy"]}
    code = (
        "import sys; from bench.device.machine import describe; describe('cpu'); "
        "print([m for m in ('torchvision', 'transformers', 'mmdet', 'mmcv', 'detectron2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_json_without_the_host_name_and_with_the_time() -> None:
    described = describe(None)
    text = json.dumps(described, allow_nan=False)
    assert json.loads(text) == described
    assert not any(text == socket.gethostname() or os.path.expanduser("~") in text for text in _strings(described))
    assert abs(datetime.now(timezone.utc) - datetime.fromisoformat(described["time_utc"])) < timedelta(minutes=1)


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


def test_switches_of_torch_are_read_as_set() -> None:
    before, threads = torch.backends.cudnn.benchmark, torch.get_num_threads()
    try:
        for flag in (True, False):
            torch.backends.cudnn.benchmark = flag
            torch.set_num_threads(1 + flag)
            described = describe("cpu")
            assert described["cudnn_benchmark"] is flag
            assert described["torch_threads"] == 1 + flag
    finally:
        torch.backends.cudnn.benchmark = before
        torch.set_num_threads(threads)
    assert described["float32_matmul_precision"] == torch.get_float32_matmul_precision()
    assert described["tf32_matmul_allowed"] is torch.backends.cuda.matmul.allow_tf32


def maskbench_of_copy(folder: Path) -> dict[str, Any]:
    """Give what a copy of the module in ``folder``/bench/device tells of maskbench."""
    path = folder / "bench" / "device" / "machine.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        shutil.copy(ROOT / "bench" / "device" / "machine.py", path)
    spec = importlib.util.spec_from_file_location("machine_copy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.describe("cpu")["maskbench"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_commit_and_dirty_flag_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkout"
    described = maskbench_of_copy(folder)
    assert (described["git_commit"], described["git_dirty"]) == (None, None)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(folder), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    # A git hook runs with the GIT_DIR of the repository that it belongs to.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    described = maskbench_of_copy(folder)
    assert (described["git_commit"], described["git_dirty"]) == (commit, False)
    (folder / "untracked.txt").write_text("does not count")
    assert maskbench_of_copy(folder)["git_dirty"] is False
    with open(folder / "bench" / "device" / "machine.py", "a") as file:
        file.write("# changed\n")
    described = maskbench_of_copy(folder)
    assert (described["git_commit"], described["git_dirty"]) == (commit, True)
    # maskbench is installed inside another repository, whose commit is not ours.
    described = maskbench_of_copy(folder / "lib")
    assert (described["git_commit"], described["git_dirty"]) == (None, None)


def test_nvml_values_and_units(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    state, notes = nvml_state(UUID)
    assert state == {
        "driver_version": "550.54.15",
        "sm_clock_mhz": 345,
        "max_sm_clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "max_memory_clock_mhz": 2619,
        "power_limit_watts": 350.0,
        "default_power_limit_watts": 700.0,
        "temperature_celsius": 41,
        "clocks_set_by_user": False,
        "clocks_limited_by_power": False,
        "clocks_limited_by_heat": False,
    }
    assert notes == []
    assert fake.running == 0


@pytest.mark.parametrize(
    ("reasons", "application_clock", "user", "power", "heat"),
    [
        (0x1, 1830, False, False, False),
        (0x2, 1830, True, False, False),
        (0x0, 1200, True, False, False),
        (0x4, 1830, False, True, False),
        (0x80, 1830, False, True, False),
        (0x20, 1830, False, False, True),
        (0x46, 1830, True, True, True),
    ],
)
def test_what_limits_the_clocks(
    monkeypatch: pytest.MonkeyPatch, reasons: int, application_clock: int, user: bool, power: bool, heat: bool
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(reasons, application_clock))
    state, _ = nvml_state(UUID)
    limits = (state["clocks_set_by_user"], state["clocks_limited_by_power"], state["clocks_limited_by_heat"])
    assert limits == (user, power, heat)


def test_a_refused_reading_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml(refuse=("nvmlDeviceGetPowerManagementLimit", "nvmlDeviceGetDefaultApplicationsClock"))
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    state, notes = nvml_state(UUID)
    assert state["power_limit_watts"] is None
    assert state["clocks_set_by_user"] is None
    assert state["max_sm_clock_mhz"] == 1980
    assert notes == ["NVML: power_limit_watts: Not Supported", "NVML: clocks_set_by_user: Not Supported"]
    assert fake.running == 0


def test_a_gpu_that_nvml_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    state, notes = nvml_state("another")
    assert set(state.values()) == {None}
    assert notes == ["NVML: no GPU another: Not Found"]
    assert fake.running == 0


def test_nvml_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(refuse=("nvmlInit",)))
    state, notes = nvml_state(UUID)
    assert set(state.values()) == {None}
    assert notes == ["NVML: Not Supported; driver, clocks and power limit are unknown"]


def test_no_nvml_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    state, notes = nvml_state(UUID)
    assert set(state.values()) == {None}
    assert "nvidia-ml-py is not installed" in notes[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_real_gpu() -> None:
    gpu = describe("cuda:0")["gpu"]
    assert gpu["name"] == torch.cuda.get_device_name(0)
    assert gpu["memory_bytes"] == pytest.approx(torch.cuda.mem_get_info(0)[1], rel=0.05)
    assert gpu["driver_version"]


@pytest.mark.parametrize(
    ("files", "governor", "boost", "smt"),
    [
        ({}, None, None, None),
        (
            {
                "cpu0/cpufreq/scaling_governor": "powersave",
                "cpu1/cpufreq/scaling_governor": "powersave",
                "intel_pstate/no_turbo": "1",
                "smt/active": "0",
            },
            *("powersave", False, False),
        ),
        (
            {
                "cpu0/cpufreq/scaling_governor": "schedutil",
                "cpu1/cpufreq/scaling_governor": "performance",
                "cpufreq/boost": "1",
                "smt/active": "1",
            },
            *("performance, schedutil", True, True),
        ),
    ],
    ids=["a virtual machine", "intel", "amd"],
)
def test_what_linux_tells_of_the_clock(
    files: dict[str, str],
    governor: str | None,
    boost: bool | None,
    smt: bool | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(machine, "_CPUS", tmp_path)
    cpu = describe("cpu")["cpu"]
    assert (cpu["governor"], cpu["boost"], cpu["smt"]) == (governor, boost, smt)
    words = {"powersave": "governor powersave, turbo off, SMT off", None: "cores"}
    assert words.get(governor, "governor performance, schedutil, turbo on, SMT on") in machine_text({"cpu": cpu})
    assert ("governor" in machine_text({"cpu": cpu})) == (governor is not None)


def test_the_load_is_that_of_uptime() -> None:
    assert describe("cpu")["cpu"]["load_1min"] == pytest.approx(os.getloadavg()[0], abs=0.5)


def test_pinning_and_load_in_words() -> None:
    rounds = [HostReadings([0.4, 11.6], [0, 0], 0, load_1min=0.4), HostReadings([2.0], [0], 0, load_1min=1.26)]
    assert load_text(rounds) == "0.4 to 1.3, others took up to 12 % of the cores' time"
    assert load_text(rounds[:1]) == "0.4, others took up to 12 % of the cores' time"
    assert load_text([]) == ""
    assert pinned_text([HostReadings([2.0], [0], 0, cores=[1, 3], pinned=True)]) == "cores 1, 3"
    assert pinned_text([HostReadings([2.0], [0], 0, cores=[1, 3])]) == pinned_text([]) == ""
