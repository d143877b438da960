"""Test that any checkpoint in the hub's layout runs as the network that wrote it, with its own names and resize."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import UserError
from bench.predictor import Settings, predict
from bench.weights.load import load_checkpoint

pytest.importorskip("transformers", reason="transformers is not installed")

from narrow_transformers import CPU, SMALL, small

from adapters.transformers.families import FAMILIES
from adapters.transformers.labels import COCO_IDS, Columns
from adapters.transformers.processor import FILES, inputs_of
from adapters.transformers.zoo import NAMES, PUBLISHED, zoo_entry
from adapters.transformers.zoo_predictor import ZooPredictor

CLASSES = tuple(f"class {label}" for label in range(12))
DATASET = ("other", "names")
"""The classes of the data set, which a checkpoint with names of its own does not take."""
SIZES: dict[str, Any] = {
    "edges": {"size": {"shortest_edge": 96, "longest_edge": 128}},
    "rf_detr": {"size": {"height": 96, "width": 96}},
    "detr": {"size": 96, "max_size": 128},
    "eomt": {"size": {"shortest_edge": 128, "longest_edge": 128}},
    "eomt_dinov3": {"size": {"shortest_edge": 128, "longest_edge": 128}},
}


def written(name: str, folder: Path, **preprocessor: Any) -> Any:
    """Write the family's small network as the library does, and give it."""
    predictor = small(name, CLASSES)
    predictor.module.save_pretrained(folder)
    said = SIZES.get(name, SIZES["edges"]) | preprocessor
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return predictor


def read(folder: Path, **options: Any) -> ZooPredictor:
    checkpoint = load_checkpoint(folder / "model.safetensors")
    return ZooPredictor(Settings(CPU, checkpoint, DATASET, config=str(folder)), **options)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 60, (90, 130, 3), dtype=np.uint8)
    pixels[20:60, 30:90] = 200
    return pixels


@pytest.mark.parametrize("name", SMALL)
def test_a_folder_gives_the_instances_of_the_network_that_wrote_it(name: str, image: np.ndarray, tmp_path) -> None:
    """The last digit of a score depends on where in memory the weights lie: those of a file are not aligned."""
    expected = predict(written(name, tmp_path), [image])[0]
    predictor = read(tmp_path)
    assert predictor.classes == CLASSES
    given = predict(predictor, [image])[0]
    torch.testing.assert_close(given.scores, expected.scores, rtol=1e-5, atol=1e-6)
    assert torch.equal(given.labels, expected.labels)
    assert torch.equal(given.masks, expected.masks)
    entry = zoo_entry(str(tmp_path))
    assert (entry.family, entry.url, entry.mask_ap) == (NAMES[name], None, None)


def test_another_mean_and_another_size_are_taken(image: np.ndarray, tmp_path) -> None:
    written("maskformer", tmp_path, image_mean=[0.5, 0.5, 0.5], image_std=[0.25, 0.25, 0.25])
    predictor = read(tmp_path)
    pixels, _ = predictor.inputs.padded([torch.full((3, 2, 2), 255, dtype=torch.uint8)], *predictor.colours)
    assert pixels[0, :, 0, 0].tolist() == [2.0, 2.0, 2.0]
    assert predictor.input_size(predictor.preprocess([image])) == (96, 128)
    larger = read(tmp_path, **ZooPredictor.options_for_input_size(128, 192))
    assert larger.input_size(larger.preprocess([image])) == (128, 192)


EDGES = {"size": {"shortest_edge": 96, "longest_edge": 128}}
SAID: dict[str, tuple[str, str, dict[str, Any]]] = {
    "edges": ("mask2former", "Mask2Former", EDGES),
    "one number and max_size": ("mask2former", "Mask2Former", {"size": 96, "max_size": 128}),
    "one number": ("conditional_detr", "ConditionalDetr", {"size": 96}),
    "an exact size": ("detr", "Detr", {"size": {"height": 96, "width": 128}}),
    "an exact size of multiples": ("mask2former", "Mask2Former", {"size": {"height": 96, "width": 128}}),
    "bicubic": ("mask2former", "Mask2Former", {**EDGES, "resample": 3}),
    "another factor": ("detr", "Detr", {**EDGES, "rescale_factor": 1 / 127.5, "image_mean": [0.5, 0.4, 0.3]}),
    "no rescaling": ("detr", "Detr", {**EDGES, "do_rescale": False}),
    "no normalising": ("detr", "Detr", {**EDGES, "do_normalize": False}),
    "neither": ("detr", "Detr", {**EDGES, "do_normalize": False, "do_rescale": False}),
    "one mean for all": ("detr", "Detr", {**EDGES, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 0.5]}),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("said", SAID)
def test_the_inputs_are_those_of_the_librarys_image_processor(said: str, file: str, tmp_path) -> None:
    from transformers import AutoImageProcessor

    kind, name, content = SAID[said]
    content = {"image_processor_type": f"{name}ImageProcessor", **content}
    whole = {"image_processor": content, "processor_class": "P"} if file == FILES[0] else content
    (tmp_path / file).write_text(json.dumps(whole))
    if file == FILES[0]:  # the part in it goes before the other file
        (tmp_path / FILES[1]).write_text(json.dumps(content | {"size": {"shortest_edge": 32, "longest_edge": 64}}))
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    inputs, _ = inputs_of(str(tmp_path), kind, FAMILIES[kind], None)
    for height, width in ((90, 120), (120, 40)):
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        theirs = processor(
            images=[image], return_tensors="pt", **({"size_divisor": 0} if kind == "mask2former" else {})
        )
        ours, _ = inputs.padded(inputs.resized([image]).images, *inputs.colours(CPU))
        torch.testing.assert_close(ours, theirs["pixel_values"], rtol=1e-5, atol=1e-4, check_dtype=False)


def test_the_inputs_that_are_not_made_are_refused(tmp_path) -> None:
    refused = {
        ("detr", '"do_resize": false'): r"do_resize=false, .* or give input_size=800x1333",
        (
            "detr",
            '"size": {"max_height": 96, "max_width": 96}',
        ): r'size={"max_height": 96, .* it must be {"shortest_edge"',
        ("detr", '"size": {"shortest_edge": 96}'): r'size={"shortest_edge": 96}',
        ("mask2former", '"size": 96'): r"size=96, ",
        ("mask2former", '"size": true, "max_size": 5'): r"size=true, ",
        ("eomt", '"size": {"height": 640, "width": 640}'): r'size=.* it must be {"shortest_edge": N, .* with one N',
        ("rf_detr", '"size": {"shortest_edge": 96, "longest_edge": 96}'): r'size=.* it must be {"height": N, .*432',
        ("detr", '"resample": 1'): r"resample=1, .*2 \(bilinear\) or 3",
        ("detr", '"rescale_factor": 0'): r"rescale_factor=0, ",
        ("detr", '"image_std": [0, 1, 1]'): r"image_std=\[0, 1, 1\], ",
        ("detr", '"image_mean": [0.5]'): r"image_mean=\[0.5\], .*three numbers",
        ("detr", '"pad_size": {"height": 9, "width": 9}'): r"pad_size=",
        ("eomt", '"do_split_image": true'): r"do_split_image=true, .*it must be false",
        ("detr", '"do_center_crop": true'): r"do_center_crop=true, ",
    }
    for (kind, content), message in refused.items():
        (tmp_path / FILES[1]).write_text(f"{{{content}}}")
        with pytest.raises(UserError, match=rf"^model\.config={tmp_path}: preprocessor_config\.json says {message}"):
            inputs_of(str(tmp_path), kind, FAMILIES[kind], None)
    (tmp_path / FILES[1]).write_text('{"size": 96, "do_resize": false}')
    assert inputs_of(str(tmp_path), "detr", FAMILIES["detr"], (64, 96))[0].longest_edge == 96


def test_notes_on_inputs(tmp_path) -> None:
    _, notes = inputs_of(str(tmp_path), "detr", FAMILIES["detr"], None)
    assert notes == (
        f"{tmp_path} has no processor_config.json and no preprocessor_config.json: images are resized to 800x1333 and "
        f"normalised as the family's published models are",
    )
    (tmp_path / FILES[1]).write_text('{"image_std": [1, 1, 1]}')
    assert inputs_of(str(tmp_path), "detr", FAMILIES["detr"], None)[1] == ()
    [note] = inputs_of(str(tmp_path), "mask2former", FAMILIES["mask2former"], None)[1]
    assert "multiples of 32 pixels (size_divisor); they are padded here" in note
    [note] = inputs_of(str(tmp_path), "rf_detr", FAMILIES["rf_detr"], None)[1]
    assert "says no size: it is the family's, 432x432" in note


def test_one_edge_alone_is_refused(tmp_path) -> None:
    written("maskformer", tmp_path)
    with pytest.raises(
        UserError, match=r"model\.options\.longest_edge is given alone; give .*shortest_edge=PIXELS too"
    ):
        read(tmp_path, longest_edge=128)


def test_the_files_of_a_folder_that_count(tmp_path) -> None:
    """Weights are counted apart, and a model card changes no figure."""
    written("detr", tmp_path)
    (tmp_path / "README.md").write_text("a card")
    found = {path.name for path in ZooPredictor.config_files(tmp_path)}
    assert found == {"config.json", "preprocessor_config.json"}
    (tmp_path / "processor_config.json").write_text("{}")
    assert {path.name for path in ZooPredictor.config_files(tmp_path)} == {*found, "processor_config.json"}


def test_an_untrained_network_has_the_classes_of_the_data_set(tmp_path) -> None:
    written("rf_detr", tmp_path)
    predictor = ZooPredictor(Settings(CPU, None, DATASET, config=str(tmp_path)))
    assert predictor.classes == DATASET
    assert predictor.module.config.num_labels == 2


def test_names_of_logits() -> None:
    """What a configuration names is taken, and "N/A" is no class; without names, as many as there are, or COCO's 91."""
    named = Columns.named({0: "N/A", 1: "cat", 2: "N/A", 3: "dog"}, ("a", "b", "c", "d"))
    assert (named.classes, named.kept) == (("cat", "dog"), (1, 3))
    unnamed = {number: f"LABEL_{number}" for number in range(3)}
    assert Columns.named(unnamed, ("a", "b", "c")).classes == ("a", "b", "c")
    coco = Columns.named({number: f"LABEL_{number}" for number in range(91)}, tuple(map(str, COCO_IDS)))
    assert coco.kept == COCO_IDS
    assert len(coco.names) == 91
    assert coco.names[90] == "90"
    with pytest.raises(UserError, match=r"model\.classes: .* 3 classes and no names .*model\.classes=\["):
        Columns.named(unnamed, ("a", "b"))


def test_what_is_no_such_checkpoint_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"has no config\.json"):
        zoo_entry(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "mask2formr"}')
    with pytest.raises(UserError, match=r"model_type=mask2formr, .*did you mean mask2former"):
        zoo_entry(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "rf_detr", "architectures": ["RfDetrForObjectDetection"]}')
    with pytest.raises(UserError, match=r"architectures=RfDetrForObjectDetection, which gives no masks"):
        zoo_entry(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": ')
    with pytest.raises(UserError, match=r"config\.json: cannot be read as JSON"):
        zoo_entry(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "rf_detr", "num_queries": "many"}')
    with pytest.raises(UserError, match=r"its config\.json is not one of transformers"):
        ZooPredictor(Settings(CPU, None, DATASET, config=str(tmp_path)))
    with pytest.raises(UserError, match=r"neither a folder nor an id on the hub; give owner/name"):
        zoo_entry("rf-detr")


def test_the_hubs_cache_is_read_without_network(tmp_path, monkeypatch) -> None:
    """The cache's layout: models--OWNER--NAME with refs/main, which names the folder in snapshots."""
    from huggingface_hub import constants

    folder = tmp_path / "models--Roboflow--rf-detr-seg-nano"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    written("rf_detr", folder / "snapshots" / ("a" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    entry = zoo_entry("Roboflow/rf-detr-seg-nano")
    assert (entry.family, entry.mask_ap) == ("RF-DETR", 40.3)
    assert entry.url == "https://huggingface.co/Roboflow/rf-detr-seg-nano/resolve/main/model.safetensors"
    predictor = ZooPredictor(Settings(CPU, None, DATASET, config="Roboflow/rf-detr-seg-nano"))
    assert predictor.inputs.longest_edge == 96
    with pytest.raises(UserError, match=r"model\.config=Roboflow/absent: config\.json cannot be had from the hub"):
        zoo_entry("Roboflow/absent")


def test_published_figures_are_those_of_the_named_configurations() -> None:
    from omegaconf import OmegaConf

    named = {}
    for path in (Path(__file__).resolve().parents[2] / "configs" / "model").glob("*_transformers.yaml"):
        config = OmegaConf.load(path)
        if config.get("zoo"):
            named["/".join(config.zoo.url.split("/")[3:5])] = config.published.mask_ap
    assert named == {name: mask_ap for name, (mask_ap, _) in PUBLISHED.items()}
