"""Test that every option in ``configs/`` composes into the schema and says what a row needs."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MODELS = sorted(path.stem for path in (ROOT / "configs" / "model").glob("*.yaml"))
NEEDS = {
    "custom": ["model._target_=a.B"],
    "replay": ["model.options.results=r.json"],
    "onnx": ["model.weights=f.onnx"],
    "openvino": ["model.weights=f.onnx"],
    "mmdet_zoo": ["model.config=solo_r50_fpn_3x_coco"],
    "transformers_zoo": ["model.config=Roboflow/rf-detr-seg-nano"],
    "detectron2_zoo": ["model.config=COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x.yaml"],
}
CODE_LICENCES = {
    "torchvision": "BSD-3-Clause",
    "mmdet": "Apache-2.0",
    "detectron2": "Apache-2.0",
    "transformers": "Apache-2.0",
    "ultralytics": "AGPL-3.0",
    "onnxruntime": "MIT",
    "openvino": "Apache-2.0",
}
ABLATIONS = ("roi_align", "mask_head", "point_rend")


@pytest.mark.parametrize("name", MODELS)
def test_model(name: str) -> None:
    from run_bench import compose

    [job] = compose([f"model={name}", *NEEDS.get(name, [])])
    model = job.config.model
    assert model.name.partition(":")[0] == ("B" if name == "custom" else name)  # a class of one's own names its row
    if name != "custom":
        module, _, cls = model._target_.rpartition(".")
        source = ROOT / (module.replace(".", "/") + ".py")
        assert re.search(rf"^class {cls}\b", source.read_text(), re.MULTILINE)
    if model.zoo.url:
        assert model.published.mask_ap is not None
        assert 20 < model.published.mask_ap < 60
        assert model.published.source
        assert model.zoo.url.startswith("https://")
    if name not in ("custom", "replay"):
        assert model.licence.code == CODE_LICENCES[model.library]
        for spdx in filter(None, (model.licence.code, model.licence.weights)):
            assert re.fullmatch(r"[A-Z][A-Za-z0-9.-]+", spdx)
    if name.startswith("demo_"):
        assert model.published.mask_ap is None
        assert model.licence.weights == "Apache-2.0"  # that of the repository, which the files are part of
    if model.zoo.lookup:
        module, _, function = model.zoo.lookup.partition(":")
        assert f"def {function}(" in (ROOT / (module.replace(".", "/") + ".py")).read_text()


def test_the_pages_say_how_far_each_download_is_verified() -> None:
    """The table of docs/weights.md and the sentence of docs/models.md are what the configurations have."""
    page = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    told = {
        name: 0 if digits == "none" else int(digits)
        for names, digits in re.findall(r"^\| (`.*`) \| (none|\d+) \|$", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    zoos = {name: OmegaConf.load(ROOT / "configs" / "model" / f"{name}.yaml").get("zoo") for name in MODELS}
    assert told == {
        name: len(str(zoo.get("sha256") or "")) for name, zoo in zoos.items() if zoo and not zoo.get("export")
    }
    urls = [told[name] for name, zoo in zoos.items() if zoo and zoo.get("url")]
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    sentence = (
        f"{urls.count(8)} of the {len(urls)} have 8 digits, and of the other {urls.count(0)} only the form is checked"
    )
    assert sentence in page


def test_studies_hold_every_model_of_their_kind() -> None:
    from run_bench import compose

    demo = {job.config.model.name for job in compose([])}
    ablations = {job.config.model.name for study in ABLATIONS for job in compose([f"study={study}"])}
    assert demo | ablations == {name for name in MODELS if name.startswith("demo_")}
    assert len(demo) == 11
    variants = {job.config.model.name: job.config.model for job in compose(["study=variants", "dataset=coco"])}
    assert {"torchvision", "mmdet", "detectron2", "transformers"} <= {model.library for model in variants.values()}
    full_size = [name for name in MODELS if not name.startswith("demo_") and name not in NEEDS]
    assert set(variants) <= set(full_size)
    models = {name: OmegaConf.load(ROOT / "configs" / "model" / f"{name}.yaml") for name in full_size}
    models = {name: model for name, model in models.items() if "export" not in model.get("zoo", {})}
    families = {model.family for model in variants.values()}
    of_variants = {(model.family, model.library) for model in variants.values()}
    assert of_variants == {(m.family, m.library) for m in models.values() if m.family in families}


def test_the_map_of_the_field_has_one_row_a_family() -> None:
    """Mask R-CNN alone stands there from two libraries; a family that is left out is one that the study names."""
    from run_bench import compose

    models = [job.config.model for job in compose(["study=field", "dataset=coco"])]
    assert len(models) <= 18
    assert {model.library for model in models} == set(CODE_LICENCES) - {"openvino"}
    families = [model.family for model in models]
    assert {family for family in families if families.count(family) > 1} == {"Mask R-CNN"}
    for model in models:
        published = model.zoo.url or model.zoo.export in {row.name for row in models}
        assert published, f"{model.name} has no published weights, so the map would have no mask AP of it"
    served = {OmegaConf.load(ROOT / "configs" / "model" / f"{name}.yaml").family for name in MODELS} - {"", "Replay"}
    left_out = {"SOLO", "MaskFormer", "Mask Scoring R-CNN", "Conditional DETR"}
    assert served - set(families) == left_out
    words = " ".join((ROOT / "configs" / "study" / "field.yaml").read_text(encoding="utf-8").replace("#", "").split())
    assert all(family in words.partition("Left out:")[2] for family in left_out)


@pytest.mark.parametrize("study", ABLATIONS)
def test_an_ablation_claims_something_of_its_own_models(study: str) -> None:
    from run_bench import compose

    jobs = compose([f"study={study}"])
    names = {job.config.model.name for job in jobs}
    assert {job.config.dataset.shapes.count for job in jobs} == {500}
    for job in jobs:
        assert job.config.claims
        for claim in job.config.claims:
            assert {claim.better, claim.worse} <= names
            assert claim.metric in ("mask_ap", "boundary_ap")


def test_the_command_line_overrules_a_study() -> None:
    from run_bench import compose

    jobs = compose(["model=demo_solo_mmdet", "precision=fp32,bf16", "dataset=coco", "detections=thresholded"])
    assert [(j.config.model.name, j.config.precision, j.config.dataset.name) for j in jobs] == [
        ("demo_solo_mmdet", "fp32", "coco"),
        ("demo_solo_mmdet", "bf16", "coco"),
    ]
    assert jobs[0].config.detections == "thresholded"


def test_the_demo_is_brief_and_a_model_of_ones_own_is_not() -> None:
    from run_bench import compose

    [own] = compose(["model=demo_solo_mmdet"])
    assert (own.config.study, own.config.protocol.rounds, own.config.protocol.precision) == ("", 3, 0.01)
    demo = compose([])[0].config
    assert (demo.study, demo.protocol.rounds, demo.protocol.precision) == ("demo", 1, 0.05)
    [chosen] = compose(["study=demo", "model=demo_solo_mmdet", "protocol=default"])
    assert chosen.config.protocol.rounds == 3


FILE_FORMAT = "onnx"
"""The folder that reads and writes the files which several libraries export to, and several runtimes run."""


def test_adapters_are_short_and_keep_to_themselves() -> None:
    allowed = ("bench.predictor", "bench.errors", "bench.schema.config", "adapters")
    folders = {path.name for path in (ROOT / "adapters").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {"torchvision", "mmdet", "detectron2", "transformers", "ultralytics"} <= folders
    for path in (ROOT / "adapters").rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) < 200, path
        own = path.relative_to(ROOT / "adapters").parts[0]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert (node.end_lineno or 0) - node.lineno < 40, f"{path}: {node.name}"
        for module in re.findall(r"^\s*(?:from|import) (\S+)", text, re.MULTILINE):
            package = module.split(".")
            if package[0] in ("bench", "adapters", "reports"):
                assert module == "bench" or module.startswith(allowed), f"{path} imports {module}"
            assert package[0] != "adapters" or package[1] in (own, FILE_FORMAT), (
                f"{path} imports another library's adapter, {module}"
            )


NOT_IN_CODE = ("torchvision", "mmdet", "mmcv", "detectron2", "transformers", "ultralytics", "replay")


def test_bench_knows_no_library_by_name() -> None:
    """No module imports a library or compares with its name; docstrings may cite one, and weights name classes."""
    for path in (ROOT / "bench").rglob("*.py"):
        if path == ROOT / "bench" / "weights" / "load.py":
            continue
        tree = ast.parse(path.read_text())
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                names = [node.value]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            for name in names:
                words = set(re.split(r"[^a-z0-9]+", name.lower())) - {""}
                assert not words & set(NOT_IN_CODE), f"{path}:{node.lineno}: {name}"


def test_every_requirement_is_pinned() -> None:
    for name in ("all", "build", "mmcv", "ultralytics"):
        for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
            assert re.fullmatch(r"[a-z0-9-]+==[^ ]+( ; .+)?", line), f"{name}.txt: {line}"


@pytest.mark.skipif(importlib.util.find_spec("mmdet") is None, reason="mmdet is not installed")
def test_a_zoo_fills_in_what_it_publishes() -> None:
    from bench.jobs.plan import _fill_from_zoo
    from run_bench import compose

    [job] = compose(["model=mmdet_zoo", "model.config=mask-rcnn_r50_fpn_1x_coco"])
    assert _fill_from_zoo(job.config) is None
    model = job.config.model
    assert (model.family, model.backbone, model.published.mask_ap) == ("Mask R-CNN", "R50-FPN", 34.7)
    assert model.zoo.url is not None
    assert model.zoo.url.endswith("mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth")
