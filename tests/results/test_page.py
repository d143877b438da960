"""Test that the page of a GPU's round is made from the files beside it, which hold no name or path of the machine."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import page
import pytest

H200 = Path(__file__).resolve().parents[2] / "docs" / "results" / "h200"


def test_the_page_says_what_the_files_say() -> None:
    assert page.page(H200) == (H200 / "README.md").read_text(encoding="utf-8")


def test_the_page_of_the_short_round_says_that_it_is_no_table_to_quote() -> None:
    text = page.page(H200)
    assert "**One short round, for finding faults: no table to quote." in text
    for figure in ("0.9685", "0.9888", "1.0437", "1.32", "1.536", "3.221", "34.5 ms", "driver 580.159.04", "3b85e1a"):
        assert figure in text


def test_the_files_hold_no_path_and_no_name_of_a_machine() -> None:
    for path in H200.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"hostname|/(home|root|work|tmp|usr|opt|mnt)/|Traceback", text), path.name


@pytest.fixture
def out(tmp_path: Path, write_xml: Any) -> Path:
    """Give a folder as gpu.sh leaves it, with one row that has a busy share and one that failed."""
    row = {"model": "SOLO", "backbone": "R50", "library": "mmdet", "precision": "fp32", "status": "ok"}
    row |= {"fps_model": "20.456", "fps_model_low": "19", "fps_model_high": "21.5", "gpu_busy_percent": "22.4"}
    rows = [{**row, "result": "jobs/a/result.json"}, {**row, "status": "failed", "reason": "it | broke", "result": ""}]
    keys = [*row, "reason", "result"]
    lines = [",".join(keys), *(",".join(r.get(key, "") for key in keys) for r in rows)]
    (tmp_path / "variants" / "jobs" / "a").mkdir(parents=True)
    (tmp_path / "variants" / "comparison.csv").write_text("\n".join(lines) + "\n")
    cpu = {"name": "Xeon", "usable_cores": None, "logical_cores": 16}
    gpu = {"name": "NVIDIA X", "memory_bytes": 8e10, "power_limit_watts": 700.0, "driver_version": "580.1"}
    machine = {"time_utc": "2026-11-26T08:05:30", "cpu": cpu, "gpu": gpu, "os": "Ubuntu 24.04, Linux-6-of-vm-17"}
    machine |= {"python": "3.12.3", "versions": {"torch": "2.11"}}
    result = {"seconds": 24.4567, "machine": machine}
    (tmp_path / "variants" / "jobs" / "a" / "result.json").write_text(json.dumps(result))
    (tmp_path / "benchmarks").mkdir()
    failure = '<failure message="no /home/ada/models/a.pth here&#10;more">File "/home/ada/x.py"</failure>'
    ratio = {"their_time_over_ours": 1.5}
    written = write_xml("agreement", ("test_mmdet_inference_benchmark", ratio, f"{failure}<system-out>vm</system-out>"))
    shutil.move(written, tmp_path / "benchmarks" / "agreement.xml")
    return tmp_path


def test_what_was_left_by_the_parts_is_collected(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    assert page.main(["collect", str(out), str(folder)]) == 0
    text = page.page(folder)
    assert "# NVIDIA X, 80.0 GB, power limit 700 W" in text
    assert "| SOLO R50 (mmdet) | fp32 | 20.46 \\[19.00, 21.50\\] |  |  |  |  |  | 22 |  |  |  |  |" in text
    assert "failed: it \\| broke" in text
    assert "1 rows took 24 to 24 s each" in text
    assert "| mmdet's time over ours | 1.5000 | 0.98 to 1.02 | no |" in text
    assert "| torchvision's time over ours |  | 0.98 to 1.02 |  |" in text
    everything = "".join(path.read_text() for path in folder.iterdir())
    assert "no a.pth here" in everything
    for private in ("/home", "ada", "hostname", "vm", "Linux-6"):
        assert private not in everything


def test_what_a_person_has_written_stays(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    page.collect(out, folder)
    about = json.loads((folder / "round.json").read_text())
    about |= {"title": "A title", "commit": "abc", "seen": ["a remark"], "driver": "old"}
    (folder / "round.json").write_text(json.dumps(about))
    page.collect(out, folder)
    text = page.page(folder)
    assert "# A title\n" in text
    assert "- a remark\n" in text
    assert "commit abc" in text
    assert "driver 580.1;" in text


def test_a_folder_without_the_table_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert page.main(["collect", str(tmp_path), str(tmp_path / "page")]) == 2
    assert "no comparison.csv; run the parts variants-*" in capsys.readouterr().err
    assert page.main(["show"]) == 2
