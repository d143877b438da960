"""Tests maps as they are typed: any name comes through a shell, our reading and Hydra's grammar as it was."""

from __future__ import annotations

import json
import random
import re
import shlex
import subprocess
from typing import Any, get_origin, get_type_hints

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench.errors import UserError
from bench.schema.config import DatasetConfig, GateConfig, ModelConfig
from bench.schema.typed.hydra_text import as_read, decoded, encoded, names_decoded
from bench.schema.typed.overrides import FREE_FORM, as_text, pasted

NASTY = [
    *(
        "Circle",
        "aeroplane",
        "traffic light",
        "t-shirt, red",
        "Trailing blank ",
        " leading",
        "two  blanks",
        "tab\tin",
        "a.b",
    ),
    *(
        "U.S. flag",
        "http://x:8/y",
        "a: b",
        "a:b",
        "k=v",
        "it's",
        "'quoted'",
        '"quoted"',
        "both ' and \"",
        "{brace}",
        "}",
        "[",
    ),
    *(
        "1",
        "007",
        "1e5",
        "-1",
        "null",
        "true",
        "False",
        "NaN",
        "inf",
        "yes",
        "~",
        "CIRCLE",
        "circle",
        "été",
        "e\u0301te\u0301",
    ),
    *(
        "日本",
        "🐈",
        "👩\u200d🚒",
        "nb\xa0sp",
        "ideographic\u3000blank",
        "\u202eturned",
        "line\nend",
        "\x1b[31m",
        "\ud800",
    ),
    *(
        "back\\slash",
        "ends\\",
        "\\'",
        '\\"',
        "\\n",
        "$HOME",
        "${study}",
        "`id`",
        "!!",
        "*",
        "&a",
        "#",
        "a #b",
        "%",
        "@",
        "-",
    ),
    *(
        "?",
        "? a",
        "|",
        ">",
        ",",
        ":",
        "=",
        "",
        "choice(a,b)",
        "_maskbench_",
        "_maskbench_61_",
        "_maskbench_c3a9_",
        "_maskbench_ff_",
        "_maskbench_ff_ad8eb4b8_",
        "_maskbench_c3a9_0e048d3e_",
        "İstanbul",
        "ılık",
        "ſet",
        "K",  # the sign of kelvin
        "a" * 300,
        "++a",
        "~a",
        "$x",
    ),
]
SPELLED = "_maskbench_c3a9_0e048d3e_"
NAMES = [name for name in NASTY if name not in ("${study}", SPELLED)]
"""All of them but an interpolation, which is one, and a name that is in our own spelling."""

ALPHABET = [*"ab1 .,:=-_'\"\\{}[]()#&*!|>%@`$~?/", "é", "e\u0301", "日", "🐈", "\xa0", "\u200b", "  ", ": ", "null"]


def some_names(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    drawn = ("".join(draw.choices(ALPHABET, k=draw.randint(1, 8))) for _ in range(count))
    return list(dict.fromkeys(name for name in drawn if "${" not in name))


def read_by_hydra(argument: str) -> tuple[str, Any]:
    override = OverridesParser.create().parse_override(as_text(argument))
    assert override.is_force_add()
    return override.key_or_group, names_decoded(override.value())


def as_a_message_has_it(argument: str) -> str:
    """A UserError has one blank for each run of them, and spells out what steers a terminal."""
    return str(UserError(argument))


@pytest.mark.parametrize("names", [NAMES, some_names(1, 1000)], ids=["literal", "random"])
def test_what_is_pasted_gives_the_names_back(names: list[str]) -> None:
    """Each name is a key and, in another pair, a value; ten pairs stand in one map."""
    maps = [
        dict(zip(names[at : at + 10], reversed(names[at : at + 10]), strict=True)) for at in range(0, len(names), 10)
    ]
    printed = [as_a_message_has_it(pasted("dataset.aliases", pairs)) for pairs in maps]
    script = "printf '%s\\0' " + " ".join(printed)
    by_bash = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout.decode().split("\0")[:-1]
    assert [shlex.split(argument) for argument in printed] == [[argument] for argument in by_bash]
    for argument, pairs in zip(by_bash, maps, strict=True):
        assert read_by_hydra(argument) == ("dataset.aliases", pairs)
        assert as_text(as_text(argument)) == as_text(argument)  # the base of a gate spells it again
        without_halves = {key: text for key, text in pairs.items() if "\ud800" not in key + text}
        if without_halves == pairs:  # what we print is YAML, too
            assert yaml.load(argument.partition("=")[2], yaml.BaseLoader) == pairs


def test_a_name_in_our_own_spelling_is_printed_so_that_it_comes_back() -> None:
    assert decoded(SPELLED) == "é"
    pairs = {SPELLED: SPELLED, "é": "ß"}
    assert read_by_hydra(shlex.split(pasted("dataset.aliases", pairs))[0]) == ("dataset.aliases", pairs)
    again = as_read(as_text(shlex.split(pasted("dataset.aliases", pairs))[0]))  # as a row shows the command
    assert read_by_hydra(again.lstrip("+")) == ("dataset.aliases", pairs)


@pytest.mark.parametrize("allow_unicode", [False, True])
@pytest.mark.parametrize("style", [None, "'", '"'])
def test_maps_in_the_spelling_of_yaml(allow_unicode: bool, style: str | None) -> None:
    """PyYAML decides which names need marks, and which escapes they have."""
    names = [n for n in [*NAMES, *some_names(2, 200)] if not re.search("\n|\ud800|:[\"']", n) and len(n) < 100]
    for at in range(0, len(names) - 1, 2):
        pairs = {names[at]: names[at + 1], "plain": names[at]}
        spelled = yaml.dump(
            pairs, default_flow_style=True, width=10**6, allow_unicode=allow_unicode, default_style=style
        )
        spelled = spelled.strip().replace("!!null ", "")
        if not spelled.startswith("{? "):  # which a person does not write
            assert read_by_hydra(f"dataset.aliases={spelled}") == ("dataset.aliases", pairs), spelled
        assert read_by_hydra(f"dataset.aliases={json.dumps(pairs)}") == ("dataset.aliases", pairs)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_as_hydra_takes_it(name: str) -> None:
    spelled = encoded(name)
    assert decoded(spelled) == name
    assert encoded(spelled) == spelled
    [override] = OverridesParser.create().parse_overrides([f"++a.{spelled}.b={{{spelled}: 1}}"])
    assert (override.key_or_group, override.value()) == (f"a.{spelled}.b", {spelled: 1})
    assert as_read(f"dataset.aliases.{spelled}: no").endswith(f"{name}: no")


def test_a_plain_name_is_left_as_it_is() -> None:
    """An older maskbench, as the base of a gate, gets it too."""
    for name in ("checkpoint", "a-b", "_x", "R50"):
        assert encoded(name) == name


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        ("model.options.x=1", "model.options.x", 1),
        ("model.options.x=1.5", "model.options.x", 1.5),
        ("model.options.x=true", "model.options.x", True),
        ("model.options.x=null", "model.options.x", None),
        ("model.options.x='1'", "model.options.x", "1"),
        ("model.options.x=[1, {a b: [null]}]", "model.options.x", [1, {"a b": [None]}]),
        ("model.options.a/b.c d=x", "model.options.a/b.c d", "x"),
        ("model.options={'a.b': {1: x, true: y}}", "model.options", {"a.b": {"1": "x", "true": "y"}}),
        ("model.options={url:http://x, t: 10:30}", "model.options", {"url": "http://x", "t": "10:30"}),
        ("model.options={a:'b: c, d', e:[1], f:{g:1}}", "model.options", {"a": "b: c, d", "e": [1], "f": {"g": 1}}),
        (r"model.options={a\:b: c\,d}", "model.options", {"a:b": "c,d"}),
        ("model.options={a: '${x:{b,c}}', d: '}'}", "model.options", {"a": "${x:{b,c}}", "d": "}"}),
        ("model.options={a: ${x:b,c}, d: '}'}", "model.options", {"a": "${x:b,c}", "d": "}"}),
        ("dataset.aliases.été=summer", "dataset.aliases.été", "summer"),
        ("dataset.aliases.U.S. flag=1", "dataset.aliases.U.S. flag", "1"),
        ("dataset.aliases.a={b}", "dataset.aliases.a", "{b}"),
        ("gate.models.zoo:a.yaml.fps_model=-5%", "gate.models.zoo:a.yaml.fps_model", "-5%"),
        ("gate.models={zoo:a: {mask_ap: null}}", "gate.models", {"zoo:a": {"mask_ap": None}}),
        ("gate.models={a: {latency_ms_p95: +10}}", "gate.models", {"a": {"latency_ms_p95": "+10"}}),
        ("gate.models.a.b={mask_ap: -1}", "gate.models.a.b", {"mask_ap": "-1"}),
        ("model.expected.my set.mask_ap=37.2", "model.expected.my set.mask_ap", 37.2),
    ],
)
def test_keys_and_types(typed: str, key: str, value: Any) -> None:
    for sign in ("", "+", "++"):
        found, read = read_by_hydra(f"{sign}{typed}")
        assert ".".join(decoded(name) for name in found.split(".")) == key
        assert (read, type(read)) == (value, type(value))


def test_every_free_form_key_of_the_schema_is_known() -> None:
    groups = {"model": ModelConfig, "dataset": DatasetConfig, "gate": GateConfig}
    maps = {
        f"{group}.{name}"
        for group, cls in groups.items()
        for name, hint in get_type_hints(cls).items()
        if get_origin(hint) is dict
    }
    assert maps == {form.key for form in FREE_FORM}
