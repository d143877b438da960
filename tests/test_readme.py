"""Test that what the README and the pages of docs/ show is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from python_path import python_path

from bench.schema.result import read_result
from reports.table.columns import COLUMNS
from reports.text.column_table import with_column_table
from reports.text.model_table import LAYOUT_OF, LIBRARIES, with_model_table
from run_bench import compose

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
COLUMNS_PAGE = (ROOT / "docs" / "columns.md").read_text(encoding="utf-8")


class Model(torch.nn.Module):
    """A model that finds one cat, the left half of the image."""

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        height, width = image.shape[1], image.shape[2]
        mask = torch.zeros(1, height, width)
        mask[:, :, : width // 2] = 1.0
        box = torch.tensor([[0.0, 0.0, float(width // 2), float(height)]])
        return {"masks": mask, "boxes": box, "scores": torch.ones(1), "labels": torch.zeros(1, dtype=torch.int64)}


[SHOWN] = re.findall(r"```python\n(# my_package.py\n.*?)```", MODELS, re.DOTALL)

PLAIN = (
    SHOWN.replace("TorchPredictor", "Predictor")
    .replace("from pathlib import Path\n\n", "")
    .replace(SHOWN[SHOWN.index("    @classmethod") : SHOWN.index("    def preprocess")], "")
)
"""Another way to write the class: for any runtime, without ``module``."""


@pytest.mark.parametrize(("code", "is_torch"), [(SHOWN, True), (PLAIN, False)])
def test_your_own_model(
    code: str, is_torch: bool, bright_squares: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """The class and the command of docs/models.md run as they stand, on data whose classes are cat and dog."""
    assert code.count("\n") < 30
    assert ("files_read" in code) == ("TorchPredictor" in code) == is_torch
    (tmp_path / "my_package.py").write_text(code)
    torch.jit.script(Model()).save(str(tmp_path / "model.pt"))
    shown = re.search(r"python run_bench.py (model=custom model._target_=my_package.*?)\n\n", MODELS, re.DOTALL)
    assert shown is not None
    command = shown.group(1).replace("\\\n", " ").split()
    dataset = dict(argument.split("=", 1) for argument in bright_squares)
    annotations = Path(dataset["dataset.annotations"]).read_text().replace('"rectangle"', '"cat"')
    (tmp_path / "annotations.json").write_text(annotations)
    os.symlink(dataset["dataset.images"], tmp_path / "images")
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_bench.py"), *command, "protocol=quick", "device=cpu", "out=out"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = read_result(next((tmp_path / "out").glob("jobs/*/result.json")))
    assert result.status == "ok"
    assert result.accuracy is not None
    assert result.accuracy.figures is not None
    assert result.speed is not None
    assert result.memory is not None
    assert result.model is not None
    # A module without parameters has 0 bytes of them; one that nobody is told of has an empty figure.
    assert result.memory.parameters_bytes == result.model.parameters == (0 if is_torch else None)
    assert result.contents.keys() >= ({"model.options.checkpoint"} if is_torch else set())
    told = "MyPredictor keeps a torch.nn.Module in self.module: derived from bench.predictor.TorchPredictor"
    assert [note.startswith(told) for note in result.notes] == ([] if is_torch else [True])
    # The left half of the 60 x 80 image and the 30 x 40 rectangle share 30 x 35 of 60 x 40 + 30 x 5 pixels: IoU 0.41.
    assert result.accuracy.figures["mask_ap"] == 0.0
    assert result.accuracy.detections == 4


def test_the_demo_table_shows_the_weights_that_are_here() -> None:
    """The table's mask AP is that of the configurations, which another test compares with the weights."""
    lines = re.findall(r"^\| .* \| (?:ok|skipped) \|.*$", README, re.MULTILINE)
    rows = [line.strip("| ").split(" | ") for line in lines]
    shown = {(row[0], row[2]): row[4].split(" ")[0] for row in rows if row[3] == "ok"}
    study = compose(["study=demo", "device=cpu"])
    models = {(job.config.model.family, job.config.model.library): job.config.model for job in study}
    assert {(row[0], row[2]) for row in rows} == set(models)
    for key, mask_ap in shown.items():
        assert float(mask_ap) == pytest.approx(models[key].expected["shapes"].mask_ap, abs=0.2), key


def test_the_table_of_what_is_served_is_that_of_the_configurations() -> None:
    assert with_model_table(MODELS) == MODELS, "run python -m reports.text.model_table"
    assert with_model_table(README) == README, "run python -m reports.text.model_table README.md"
    [lines] = re.findall(r"^\| family \|.*\n((?:\|.*\n)+)", MODELS, re.MULTILINE)
    cells = {row[1].strip(): [cell.strip() for cell in row[2:-1]] for row in (e.split("|") for e in lines.splitlines())}
    assert cells["Mask R-CNN"][:3] == [
        "R50-FPN, R50-FPN v2, demo",
        "R50-FPN, R101-FPN, demo",
        "R50-FPN, R101-FPN, demo",
    ]
    for path in (ROOT / "configs" / "model").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        [family], [library] = (re.findall(rf"^{key}: *(.*?) *(?:#.*)?$", text, re.M) for key in ("family", "library"))
        if family != '""' and library not in ("replay", "custom"):
            assert cells[family][list(LIBRARIES).index(library)], path.name


def test_the_table_of_what_is_served_names_layouts_that_are_known() -> None:
    page = (ROOT / "docs" / "runtimes.md").read_text(encoding="utf-8")
    [lines] = re.findall(r"^\| layout \|.*\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert set(LAYOUT_OF.values()) == set(re.findall(r"^\| `(\w+)`", lines, re.MULTILINE)) - {"detr", "mmdeploy"}


def test_every_column_is_defined() -> None:
    for name, column in COLUMNS.items():
        assert f"| `{name}` | {column.unit or ''} | {column.description} |" in COLUMNS_PAGE
    assert with_column_table(COLUMNS_PAGE) == COLUMNS_PAGE, "run python -m reports.text.column_table"
