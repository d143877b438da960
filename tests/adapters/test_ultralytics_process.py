"""Test what importing ultralytics does to a process, to files and to the network, and what a row says without it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from python_path import python_path

from bench.errors import UserError
from bench.jobs.worker.failures import classify

ROOT = Path(__file__).resolve().parents[2]
TARGET = "adapters.ultralytics.predictor.UltralyticsPredictor"
SEEN = """
import json, os, sys, warnings
import cv2, numpy, torch, torchvision
from bench.predictor import Settings, predict
seen = []
WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen", "os.system")
def hook(event, args):
    if event in WATCHED or (event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")):
        seen.append(f"{event} {args[0]}")
    elif event in ("os.mkdir", "os.rename") or (event == "os.remove" and args[1] == -1):  # not what rmtree removes
        seen.append(f"{event} {args[0]}")
def process():
    return {
        "environment": dict(os.environ), "save": torch.save.__module__, "threads": torch.get_num_threads(),
        "cudnn": [torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32],
        "deterministic": torch.are_deterministic_algorithms_enabled(), "tf32": torch.get_float32_matmul_precision(),
        "type": str(torch.get_default_dtype()), "grad": torch.is_grad_enabled(), "numpy": numpy.get_printoptions(),
        "printed": repr(torch.tensor([0.123456, 1e-7])), "filters": len(warnings.filters), "path": sys.path[:],
        "folder": os.getcwd(), "load": torch.load.__module__, "seeds": torch.initial_seed(),
    }
before = process()
sys.addaudithook(hook)
from adapters.ultralytics.predictor import UltralyticsPredictor
predictor = UltralyticsPredictor(Settings(torch.device("cpu"), config="yolo26n-seg.yaml", score_threshold=0.0))
predict(predictor, [numpy.zeros((64, 96, 3), numpy.uint8)])
from ultralytics import SETTINGS, utils
from ultralytics.utils.events import events
print(json.dumps({
    "changed": [key for key, value in process().items() if str(value) != str(before[key])],
    "seen": [one for one in seen if "__pycache__" not in one and "/dev/null" not in one],
    "cv2": cv2.getNumThreads(), "online": utils.ONLINE, "installs": utils.AUTOINSTALL, "sync": SETTINGS["sync"],
    "events": events.enabled, "config": str(utils.USER_CONFIG_DIR.parent),
}))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="ultralytics is not installed: docs/install.md says how"
)
def test_the_import_leaves_the_process_the_home_and_the_network_alone(tmp_path: Path) -> None:
    """Only OpenCV's threads stay changed. Files are written into a temporary folder alone, which is gone afterwards."""
    places = {name: tmp_path / name for name in ("home", "temporary", "work")}
    for place in places.values():
        place.mkdir()
    home, temporary, work = (str(place) for place in places.values())
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "YOLO_", "XDG_"))}
    environment = {
        **keep,
        "HOME": home,
        "TMPDIR": temporary,
        "PYTHONPATH": python_path(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("PYTEST_CURRENT_TEST", None)  # the library reports nothing while tests run
    done = subprocess.run(
        [sys.executable, "-c", SEEN], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["changed"] == []
    assert [one for one in told["seen"] if temporary not in one] == []
    assert any("settings.json" in one for one in told["seen"])  # the hook sees what is written
    assert told["config"].startswith(temporary)
    assert (told["cv2"], told["online"], told["installs"], told["sync"], told["events"]) == (1, *[False] * 4)
    left = [path for place in places.values() for path in place.rglob("*")]
    assert [path for path in left if not path.name.startswith("torchinductor_")] == []  # torch makes this one itself


def test_where_it_is_not_installed_the_row_is_skipped_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("ultralytics", "adapters.ultralytics"))]:
        monkeypatch.delitem(sys.modules, name)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ultralytics" else find_spec(name))
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("adapters.ultralytics.predictor")
    status, reason = classify(caught.value, TARGET, "worker.log")
    assert status == "skipped"
    assert sys.prefix not in reason, "a report publishes it"
    assert reason.startswith("ultralytics is not installed in ")
    assert reason.endswith(
        f"{'/'.join(Path(sys.executable).parts[-3:])}; `make env LIB=ultralytics` in the folder of maskbench "
        f"makes an environment with it (licence: AGPL-3.0); see docs/install.md#ultralytics"
    )
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert '<a id="ultralytics"></a>' in page
    assert "make env LIB=ultralytics" in page
    assert "\nenv:" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="ultralytics is not installed: docs/install.md says how"
)
@pytest.mark.parametrize("version", ["8.3.240", "8.4.189"])
def test_an_older_version_is_refused(version: str) -> None:
    offline = importlib.import_module("adapters.ultralytics.offline")
    with pytest.raises(UserError, match=f"ultralytics {version} in .* -m pip install 'ultralytics>=8.4.190'"):
        offline._refuse_older(version)
    for later in ("8.4.190", "8.5.0", "9.0"):
        offline._refuse_older(later)
