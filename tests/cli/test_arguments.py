"""Tests what becomes of the command's arguments: they arrive through Hydra as typed, or are refused in one line."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.cli.arguments import for_hydra
from bench.cli.run import run
from bench.errors import UserError
from bench.schema.typed.overrides import quoted
from run_bench import compose


def within(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config[name] if isinstance(config, dict) else getattr(config, name)
    return config


def test_a_text_arrives_as_it_was_typed() -> None:
    given = {
        "gate.base_ref": "12e4567",
        "out": "runs/größe (1), it's lr=0.1",
        "dataset.images": "a\\",
        "history": "HEAD^",
    }
    [job] = compose(["study=none", "gate=interleaved", *(f"{key}={quoted(text)}" for key, text in given.items())])
    assert {key: within(job.config, key) for key in given} == given
    [job] = compose(["study=none", "gate=interleaved", "gate.base_ref=12e4567", "out=runs/größe (1) it's lr=0.1"])
    assert (within(job.config, "gate.base_ref"), job.config.out) == ("12e4567", "runs/größe (1) it's lr=0.1")


def test_a_comma_still_makes_a_sweep() -> None:
    jobs = compose(["study=none", "precision=fp32,fp16", "model.weights=a b,'c,d'"])
    assert [(job.config.precision, job.config.model.weights) for job in jobs] == [
        *(("fp32", weights) for weights in ("a b", "c,d")),
        *(("fp16", weights) for weights in ("a b", "c,d")),
    ]


def test_lists_of_texts_without_brackets_and_with_doubles() -> None:
    assert compose(["study=none", "passes=speed,memory"])[0].config.passes == ["speed", "memory"]
    assert compose(["study=none", "passes=[flops,flops]"])[0].config.passes == ["flops"]


def test_interpolations_and_null_keep_their_meaning() -> None:
    [job] = compose(["study=none", "out=runs/${precision} ü", "baseline=null"])
    assert (job.config.out, job.config.baseline) == ("runs/fp32 ü", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["baseline="], "baseline= is empty"),
        (["baseline=''"], "baseline is empty"),
        (["baseline=${oc.env:NO_SUCH_VARIABLE,''}"], "baseline is empty"),
        (["model="], "model= is empty"),
        (["batch_size="], "batch_size= is empty"),
        ([""], "an argument is empty"),
        (["out=choice(a,b)"], "out: all jobs of a command share it, and it has 2 values"),
        (["hydra/launcher=joblib"], "hydra/launcher=joblib: sets Hydra itself"),
        (["hydra/sweeper=basic"], "hydra/sweeper=basic: sets Hydra itself"),
        (["hydra.mode=RUN"], "hydra.mode=RUN: sets Hydra itself"),
        (["+model.options.x=nan"], "model.options.x=nan: must be a finite number"),
        (["+model.options.x={a: [inf]}"], "model.options.x.a.0=inf: must be a finite number"),
        (["+model.options.x=a (1)"], "model.options.x=a (1): Hydra cannot read the value; for a text give"),
        (["model.options={'a b': f(c)}"], "model.options={a b: f(c)}: Hydra cannot read the value; in a list or a map"),
        (
            ["model.options.x=[a]/b"],
            "quotation marks, as in ['a b', 'c']; where it is one text, give \"model.options.x='[",
        ),
        (["model.options.x={a}/b"], "a colon is missing behind 'a'; give it as"),
        (["model.options.x={a}/b"], "; where it is a text, give \"model.options.x='{a}/b'\""),
        (["dataset.aliases={a: b}", "+dataset.aliases={c: d}"], "dataset.aliases: stands twice with a map"),
        (["dataset.aliases={a, b: c}"], "dataset.aliases={a, b: c}: a colon is missing behind 'a'"),
        (["dataset.aliases={a: b, a: c}"], "dataset.aliases={a: b, a: c}: 'a' stands twice in one map"),
        (["dataset.aliases={a: {b: c}}"], "the value of 'a' is missing"),
        (["dataset.aliases={a: b: c}"], "a comma is missing in 'b: c'"),
        (["dataset.aliases={a:b:c}"], "which colon ends the name is open in 'a:b:c'"),
        (["dataset.aliases={a: b} c"], "'c' belongs to no map"),
        (["dataset.aliases={a: b"], "a comma or a brace is missing behind the value of 'a'"),
        (["dataset.aliases={'a: b}"], "a quotation mark is missing behind"),
        (["dataset.aliases={'a' b: c}"], "a colon is missing behind 'a'"),
        ([r'dataset.aliases={"\q": c}'], "a backslash in"),
        (["dataset.aliases=cat"], "dataset.aliases=cat: must be a map; give 'dataset.aliases={CATEGORY: CLASS}'"),
        (["dataset.aliases="], "dataset.aliases= is empty"),
        (["dataset.aliases.cat="], "dataset.aliases.cat= is empty"),
        (["dataset.aliases.=cat"], "dataset.aliases.=cat: must be a map"),
        (["model.options..x=1"], "model.options..x: a name is empty"),
        (["model.options=1"], "model.options=1: must be a map; give 'model.options={NAME: VALUE}'"),
        (["gate.models.a.fps_model=-5%"], "a key of finetune or gate needs that group"),
        (["gate=default", "gate.thresholds.fps_modle=-5%"], "gate.thresholds.fps_modle: no such metric; did you mean"),
        (["model.expected.shapes.mask_app=4"], "model.expected.shapes.mask_app: no such key"),
        (["dataset.image_range=[4095,0]"], "dataset.image_range=[4095.0, 0.0]: must be the darkest and the brightest"),
        (["dataset.image_range=4095"], "must be a list of numbers, as 'dataset.image_range=[0.5,1]'"),
        (["dataset.image_range=0,4095"], "must be a list of numbers; give 'dataset.image_range=[0,4095]'"),
        (
            ["dataset=coco", "dataset.shapes.count=3"],
            "a key of dataset.shapes or dataset.train needs a dataset that has",
        ),
        (["dataset.image_range=[a,b]"], "dataset.image_range[0]: Value 'a'"),
        (["dataset.strict=yes please"], "dataset.strict: Value 'yes please' is not a valid bool"),
        (["dataset.exif=turn"], "dataset.exif=turn: unknown, must be auto or apply or ignore"),
        (["dataset.without_mask=keep"], "dataset.without_mask=keep: unknown, must be drop or ignore"),
        (["--shell-completion"], "--shell-completion: no such option"),
        (["--experimental-rerun=x"], "no such option"),
        (["--device", "cpu"], "--device: no such option; what is measured is given as KEY=VALUE, as device=..."),
        (["--cfg=jobs"], "--cfg=jobs: unknown, must be job or hydra or all"),
        (["--cfg"], "--cfg is empty"),
        (["--cfg=job", "-i"], "--cfg and --info: give only one of them"),
        (["--resolve"], "--resolve: belongs to --cfg"),
        (["batch_size=interval(1,2)"], "does not support sweep type : INTERVAL_SWEEP"),
        (["--config-dir=/no/such/folder"], "--config-dir=/no/such/folder: no such folder"),
        (["--config-dir="], "--config-dir is empty"),
    ],
)
def test_what_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study=none", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_the_spelling_that_a_refusal_prints_works() -> None:
    with pytest.raises(UserError) as refused:
        compose(["study=none", "+model.options.x=a (größe, it's)"])
    [argument] = shlex.split(str(refused.value).rpartition("give ")[2])
    assert compose(["study=none", argument])[0].config.model.options["x"] == "a (größe, it's)"


def test_the_keys_of_how_a_set_is_read() -> None:
    [job] = compose(["study=none", "dataset=coco", "dataset.image_range=[0,4095]", "dataset.strict=true"])
    assert (job.config.dataset.image_range, job.config.dataset.strict) == ([0.0, 4095.0], True)
    [job] = compose(["study=none", "dataset.image_range=[0, 1]", "dataset.exif=apply", "dataset.without_mask=drop"])
    read = job.config.dataset
    assert (read.image_range, read.exif, read.without_mask) == ([0.0, 1.0], "apply", "drop")


def test_options_stand_anywhere() -> None:
    arguments = for_hydra(["model=a", "-c", "job", "out=b", "--resolve", "batch_size=2", "-cd", "x"])
    assert arguments.options == ["--cfg=job", "--resolve", "--config-dir=x"]
    assert for_hydra(["-i", "defaults", "model=a"]).options == ["--info=defaults"]
    assert for_hydra(["--info", "model=a"]) == (["--info=all"], ["model=a"])
    assert arguments.overrides == ["model=a", "out='b'", "batch_size=2"]
    assert (arguments.prints, arguments.config_dir) == (True, "x")


def test_what_prints_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("maskbench")
    assert run(["study=none", "--cfg", "job", "out=a (1)"]) == 0
    assert "out: a (1)" in capsys.readouterr().out


def test_a_folder_of_configurations(tmp_path: Path) -> None:
    """A folder named as one of our keys is no group of options: it holds the results of the first command."""
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("name: mine\nimages: i\nannotations: a.json\n")
    (tmp_path / "out").mkdir()
    arguments = ["study=none", "dataset=mine", f"--config-dir={tmp_path}", "out=out"]
    [job] = compose(arguments)
    assert (job.config.dataset.images, job.config.out) == ("i", "out")


def test_an_option_of_the_users_with_a_name_of_ours(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "coco.yaml").write_text("name: mine\n")
    given = ["study=none", f"--config-dir={tmp_path}"]
    assert compose(given)
    with pytest.raises(UserError, match=r"dataset=coco: .*dataset/coco\.yaml has the name of an option of maskbench"):
        compose([*given, "dataset=coco"])
