"""Tests that any name below a free-form key arrives as it was typed, and that nobody sees how it went through Hydra."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest

from bench.cli.gate import from_settings
from bench.cli.run import _command, run
from bench.errors import UserError
from bench.jobs.identity import job_name
from bench.schema.config import ExpectedConfig
from bench.schema.typed.overrides import as_text, pasted
from run_bench import compose

ALONE = ("study=none", "model=custom", "model._target_=a.B")
PAIRS = {
    "Circle": "circle",
    "t-shirt, red": "shirt ",
    "it's": 'a "b"',
    "1": "null",
    "été": "x",
    "two  blanks": "a: b",
    "${study}": "${study}",
    "a${": "\\${x",
    "b}": "$x\\\\${study:}\\",
}


def test_what_is_pasted_composes() -> None:
    [argument] = shlex.split(pasted("dataset.aliases", PAIRS))
    [job] = compose([*ALONE, argument, "dataset.aliases.été=summer", "+dataset.aliases.U.S. flag=1"])
    assert job.config.dataset.aliases == {**PAIRS, "été": "summer", "U.S. flag": "1"}


def test_the_alias_of_the_readme() -> None:
    [job] = compose([*ALONE, "dataset.aliases={aeroplane: airplane}", "dataset.aliases.a=b"])
    assert job.config.dataset.aliases == {"aeroplane": "airplane", "a": "b"}


def test_options_keep_their_types_and_nest() -> None:
    [job] = compose(
        [
            *ALONE,
            *("model.options.checkpoint=x.pt", "model.options.new.été.depth=2", "model.options.scales=[1,2]"),
            *(
                "model.options.scales.0=5",
                "model.options={'a.b': {c d: [null, true, 1.5, '1']}}",
                "model.options.x=007",
            ),
        ]
    )
    assert job.config.model.options == {
        "checkpoint": "x.pt",
        "new": {"été": {"depth": 2}},
        "scales": [5, 2],
        "a.b": {"c d": [None, True, 1.5, "1"]},
        "x": "007",
    }


def test_options_are_texts_where_hydra_cannot_read_them() -> None:
    given = ("a=~/r (1).json", "b=[été,ß]", "c=a=b", "d={x: it's}", "e=/tmp/{x}/r.json", "f=é ${precision}")
    [job] = compose([*ALONE, *(f"model.options.{option}" for option in given)])
    assert job.config.model.options == {
        **{"a": "~/r (1).json", "b": ["été", "ß"], "c": "a=b", "d": {"x": "it's"}, "e": "/tmp/{x}/r.json"},
        "f": "é fp32",
    }


def test_sweeps_go_on_to_work() -> None:
    jobs = compose([*ALONE, "model.options.größe=1,2", "dataset.aliases={a b: c},{a b: 'd, e'}"])
    assert [(job.config.model.options, job.config.dataset.aliases) for job in jobs] == [
        ({"größe": size}, {"a b": alias}) for size in (1, 2) for alias in ("c", "d, e")
    ]


def test_the_environment_in_an_option_of_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    [job] = compose([*ALONE, "model.options={my token: '${oc.env:TOKEN}'}", "model.options.zweites-é=${oc.env:TOKEN}"])
    assert job.config.model.options == {"my token": "${oc.env:TOKEN}", "zweites-é": "${oc.env:TOKEN}"}
    assert job.from_environment.fill(job.config.model.options) == {"my token": "secret", "zweites-é": "secret"}


def test_what_the_environment_gives_is_no_interpolation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "a ${study}\\\\")
    [job] = compose([*ALONE, "dataset.aliases={a: '${oc.env:NAME}'}", "model.family=${oc.env:NAME}"])
    assert (job.config.dataset.aliases, job.config.model.family) == ({"a": "a ${study}\\\\"}, "a ${study}\\\\")


def test_thresholds_and_expected_figures() -> None:
    [job] = compose(
        [
            *ALONE,
            *("gate=default", "gate.models.mmdet_zoo:solo.py.fps_model=-5%", "gate.models={a b: {mask_ap: -1}}"),
            *("gate.thresholds.latency_ms_p95=+10", "model.expected.my set.mask_ap=37.2", "model.expected.b.mask_ap=1"),
            "model.expected.my set.tolerance=2",
        ]
    )
    assert job.config.gate is not None
    assert job.config.gate.models == {"mmdet_zoo:solo.py": {"fps_model": "-5%"}, "a b": {"mask_ap": "-1"}}
    assert job.config.gate.thresholds["latency_ms_p95"] == "+10"
    assert job.config.model.expected == {"my set": ExpectedConfig(37.2, 2.0), "b": ExpectedConfig(1.0)}


def test_the_command_that_compares_takes_them_too() -> None:
    gate = from_settings(["gate.models.zoo:a.py.fps_model=-5%", "models={a b: {mask_ap: -1}}", "thresholds.mask_ap=-1"])
    assert gate.models == {"zoo:a.py": {"fps_model": "-5%"}, "a b": {"mask_ap": "-1"}}
    assert gate.thresholds["mask_ap"] == "-1"
    assert from_settings(["thresholds.latency_ms_p95=+10", "gate.allow=[fewer_rows]"]).allow == ["fewer_rows"]
    for setting in ("models={a}", "thresholds.fps_modle=-1", "alpha=1,2", "alpha=("):
        with pytest.raises(UserError):
            from_settings([setting])


def test_a_file_and_the_command_line_have_the_same_name(tmp_path: Path) -> None:
    """The name goes through Hydra in two spellings; the command line wins, and other names of the file stay."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(
        "family: Mine\nlibrary: own\n_target_: mine.Net\noptions:\n  a b: {x: 1, y: [2]}\n  é: old\n  c: 3\n"
    )
    given = [f"--config-dir={tmp_path}", "study=none", "model=mine", "model.options.a b.x=5", "model.options.é=new"]
    [job] = compose(given)
    assert job.config.model.options == {"a b": {"x": 5, "y": [2]}, "é": "new", "c": 3}


def test_nothing_encoded_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        "dataset.aliases={'a, b': c}",
        "model.options.été={x y: 1}",
        "gate=default",
        "gate.models={é: {mask_ap: -1}}",
    ]
    [job] = compose([*ALONE, *names])
    config = json.dumps(dataclasses.asdict(job.config), ensure_ascii=False)
    assert '"a, b": "c"' in config
    assert "_maskbench_" not in config + job_name(job.config, {})
    for option in (["--cfg=all"], ["--cfg=job", "--resolve"]):
        assert run([*ALONE, *option, *names]) == 0
        printed = capsys.readouterr().out
        assert "a, b: c" in printed
        assert "_maskbench_" not in printed
    # The base of a gate gets the spelling for Hydra; its rows show the command as a person would type it.
    command = _command([as_text(name) for name in names])
    assert "_maskbench_" not in command
    [again] = compose([*ALONE, *shlex.split(command)[2:]])
    assert again.config == job.config


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("model.options.été=a (1)", """give "model.options.été='a (1)'\""""),
        ("model.options={a b: f(1)}", "model.options={a b: f(1)}: Hydra cannot read"),
        ("dataset.İmages=x", "dataset.İmages: no such key; did you mean dataset.images"),
        ("model.options.größe=inf", "model.options.größe=inf: must be a finite number"),
        ("model.options.größe=${nothing.there}", "model.options.größe"),
        ("model.expected.my set.mask_ap=much", "model.expected.my set.mask_ap: Value 'much'"),
        ("model.expected.my set=3", "model.expected.my set"),
    ],
)
def test_nor_in_a_refusal(argument: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        compose([*ALONE, argument])
    assert words in str(refused.value)
    assert "_maskbench_" not in str(refused.value)
