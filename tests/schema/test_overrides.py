"""Tests the spelling of overrides: a text arrives as it was typed, and what has a meaning in Hydra keeps it."""

from __future__ import annotations

import random
import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from bench.errors import UserError
from bench.schema.typed.hydra_text import encoded
from bench.schema.typed.overrides import as_text, as_typed, kinds, plain, quoted, with_each_text, working_spelling

SHARP_S = encoded("ß")


@pytest.mark.parametrize(
    ("typed", "for_hydra"),
    [
        ("gate.base_ref=12e4567", "gate.base_ref='12e4567'"),
        ("gate.base_ref=HEAD^", "gate.base_ref='HEAD^'"),
        ("out=runs/a (1)", "out='runs/a (1)'"),
        ("out=it's", """out="it's\""""),
        ("out=a\\", r"out='a\\'"),
        (r"""out=a\'"b""", r"""out='a\\\'"b'"""),
        (r"out=C:\data", r"out='C:\data'"),
        ("+out=lr=0.1", "+out='lr=0.1'"),
        # What has a meaning in Hydra keeps it.
        ("out=null", "out=null"),
        ("out='a,b'", "out='a,b'"),
        ('out="a b"', 'out="a b"'),
        ("out=${study}", "out='${study}'"),
        ("out=${f:a,b}", "out='${f:a,b}'"),
        ("out=${oc.env:X,''}", """out="${oc.env:X,''}\""""),
        ("precision=fp32,fp16", "precision='fp32','fp16'"),
        ("model.weights=a b, 'c,d' ,null", "model.weights='a b','c,d',null"),
        ("precision=choice(fp32,fp16)", "precision=choice(fp32,fp16)"),
        ("model=glob(demo*)", "model=glob(demo*)"),
        # Lists of texts have brackets; a sweep of lists keeps its commas.
        ("passes=speed", "passes=['speed']"),
        ("passes=speed, flops", "passes=['speed','flops']"),
        ("passes=[speed],[flops]", "passes=[speed],[flops]"),
        # No texts: numbers, groups, keys that nobody knows.
        ("batch_size=1,2", "batch_size=1,2"),
        ("model=a,b", "model=a,b"),
        # Below a free-form key a name is added; options keep what Hydra makes of their values.
        ("model.options.scale=0.5", "++model.options.scale=0.5"),
        ("+model.options.x=007", "++model.options.x=007"),
        # Unless it cannot read them: then they are texts.
        ("model.options.x=/tmp/run (1)/r.json", "++model.options.x='/tmp/run (1)/r.json'"),
        (
            "model.options.x=it's, 1,[é, {ß: x;y}]",
            f"""++model.options.x="it's",1,['é',{{{SHARP_S}: 'x;y'}}]""",
        ),
        ("model.options.x=[f(1,2), b]", "++model.options.x=[f(1,2),b]"),
        ("model.options.x=/tmp/a(,b", "++model.options.x=/tmp/a(,b"),
        ("model.options.x.0={y: {a-b: 1}}", "++model.options.x.0={y: {a-b: 1}}"),
        ("gate.thresholds.fps_model=-3%", "++gate.thresholds.fps_model='-3%'"),
        ("gate.models.a.latency_ms_p95=+10", "++gate.models.a.latency_ms_p95='+10'"),
        ("gate.models.a.mask_ap=null", "++gate.models.a.mask_ap=null"),
        ("dataset.aliases.a=null", "++dataset.aliases.a='null'"),
        ("dataset.aliases={a: 1, b: c d}", "++dataset.aliases={a: '1',b: 'c d'}"),
        ("dataset.aliases={a: b},{a: c}", "++dataset.aliases={a: 'b'},{a: 'c'}"),
        ("dataset.aliases=${x:{a,b}}", "++dataset.aliases=${x:{a,b}}"),
        ("modle=a", "modle=a"),
        ("~model.options.x", "~model.options.x"),
        ("just words", "just words"),
        # An empty text has a meaning where it is the default.
        ("model.backbone=", "model.backbone="),
        ("+model.options.prefix=", "++model.options.prefix="),
    ],
)
def test_a_text_is_put_into_quotation_marks(typed: str, for_hydra: str) -> None:
    assert as_text(typed) == for_hydra
    assert as_text(for_hydra) == for_hydra  # the base of a gate gets the spelling for Hydra, and spells it again


@pytest.mark.parametrize("key", ["gate.base_ref", "out", "dataset.images"])
@pytest.mark.parametrize(
    "text",
    [
        *("12e4567", "main~1", "HEAD^", "HEAD@{1}", "fix#12", "0123", "null-fix", "true", "inf", "1_000"),
        *("runs/größe", "runs/a (1)", "runs/it's", "runs/lr=0.1", "a:b", "a@b", "$HOME", "a\\", "[1]{2}", "a b"),
        *("""both ' and " marks""", """\\'\\"\\""", "--x", "%20", "&;|<>", "日本", "choice", "range(", "'tis"),
    ],
)
def test_hydra_reads_the_text_that_was_typed(key: str, text: str) -> None:
    override = OverridesParser.create().parse_override(as_text(f"{key}={text}"))
    assert (override.key_or_group, override.value()) == (key, text)
    # A sweep spells the values of each of its jobs anew.
    again = f"{override.get_key_element()}={override.get_value_element_as_str()}"
    assert OverridesParser.create().parse_override(again).value() == text


@pytest.mark.parametrize(
    "text",
    [
        *("/tmp/run (1)/r.json", "/tmp/é/r.json", "~/r.json", "/tmp/a=b/r.json", "a&b", "a#b", "it's", "été", "x;y"),
        *(
            "/tmp/{x}/r.json",
            "/tmp/{a,b}/é",
            "a(",
            "r (1).json",
            "a\\\\(",
            "'a'b",
            "!",
            "line\nend",
            "<>",
        ),
    ],
)
def test_an_option_that_hydra_cannot_read_is_a_text(text: str) -> None:
    forms = [(text, text), (f"[{text}, 1]", [text, 1]), (f"{{a: {text}, b: 1}}", {"a": text, "b": 1})]
    for typed, value in forms if text.count("(") == text.count(")") else forms[:1]:
        override = OverridesParser.create().parse_override(as_text(f"model.options.x={typed}"))
        assert not override.is_sweep_override()
        assert override.value() == value


def test_what_hydra_reads_is_left_to_it() -> None:
    """Random values: those that Hydra's own parser reads keep their value and type, and all others are texts."""
    draw, parser = random.Random(3), OverridesParser.create()
    alphabet = [*"ab1 .:=-_'\"\\)]{}#&*!|>%@$~?/+", "é", "${a}", "null", "1.5", "true", "\\\\", "\\(", "("]
    read = 0
    for _ in range(1500):
        value = "".join(draw.choices(alphabet, k=draw.randint(1, 6))).strip()
        if not value or value[0] in "[{" or re.match(r"\w[\w-]*\s*\(", value):
            continue
        try:
            own = parser.parse_override(f"x={value}").value()
            read += 1
        except HydraException:
            own = value
        got = parser.parse_override(as_text(f"model.options.x={value}")).value()
        assert (got, type(got)) == (own, type(own)) or own != own, value
    assert 200 < read < 1300


@pytest.mark.parametrize("key", ["model.options.results", "dataset.images", "dataset.annotations"])
def test_a_comma_in_the_name_of_a_file_makes_no_two_jobs(key: str, tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    with pytest.raises(UserError, match="a comma makes a sweep, and there is a file or a folder of this name") as said:
        as_text(f"{key}={tmp_path}/a,b")
    [remedy] = shlex.split(re.search(r"give (\S+), for a sweep", str(said.value))[1])  # type: ignore[index]
    assert OverridesParser.create().parse_override(as_text(remedy)).value() == f"{tmp_path}/a,b"
    for sweep in (f"{key}={tmp_path}/a, b", f"{key}={tmp_path}/a,c"):
        assert OverridesParser.create().parse_override(as_text(sweep)).is_sweep_override()


@pytest.mark.parametrize("key", ["dataset.image_range", "finetune.scales"])
def test_a_list_of_numbers_needs_brackets(key: str) -> None:
    with pytest.raises(UserError, match=rf"must be a list of numbers; give '{key}=\[0,4095\]'$"):
        as_text(f"{key}=0,4095")
    with pytest.raises(UserError, match=rf"must be a list of numbers, as '{key}=\[0.5,1\]'$"):
        as_text(f"{key}=4095")
    for fine in ("[0,4095]", "[0,1],[0,2]", "null", "${x}", "choice([0,1],[0,2])"):
        assert as_text(f"{key}={fine}") == f"{key}={fine}"


@pytest.mark.parametrize("key", ["out", "history", "baseline", "dataset.images", "gate.base_ref", "passes", "model"])
@pytest.mark.parametrize("nothing", ["", "  "])
def test_an_empty_value_is_refused(key: str, nothing: str) -> None:
    with pytest.raises(UserError, match=rf"^{key}= is empty \(an unset variable\?\); give {key}=VALUE, or"):
        as_text(f"{key}={nothing}")


@pytest.mark.parametrize("key", ["out", "history", "baseline", "gate.base_ref"])
def test_a_comma_is_refused_where_all_jobs_share_the_value(key: str) -> None:
    with pytest.raises(UserError) as refused:
        as_text(f"{key}=a,b")
    assert str(refused.value).endswith(f"""give "{key}='a,b'\"""")
    assert as_text(f"{key}='a,b'") == f"{key}='a,b'"


@pytest.mark.parametrize(
    ("override", "key", "text"),
    [
        ("dataset.images=a b", "dataset.images", "a b"),
        ("+model.options.x='a,b'", "model.options.x", "a,b"),
        (r"out='it\'s'", "out", "it's"),
        ("out=\"a 'b'\"", "out", "a 'b'"),
        (r"out='a\\'", "out", "a\\"),
        ("model=a,b", "model", None),
        ("passes=[speed]", "passes", None),
        ("out=${study}", "out", None),
        ("precision=choice(a)", "precision", None),
        ("~gate", "gate", None),
    ],
)
def test_the_text_of_an_override(override: str, key: str, text: str | None) -> None:
    assert plain(override) == (key, text)
    if text is not None:
        assert plain(with_each_text(override, lambda old: f"it's {old}")) == (key, f"it's {text}")


def test_each_text_of_a_sweep_is_changed() -> None:
    assert with_each_text("model.weights=a,'b,c',d", lambda text: text.replace("b", "x")) == "model.weights=a,'x,c',d"
    assert with_each_text("passes=[a]", str.upper) == "passes=[a]"


def test_what_is_printed_works_in_a_shell() -> None:
    for text in ("a (1)", "it's", "größe", 'a "b"', "$HOME `x` !", "a\\"):
        [argument] = shlex.split(as_typed(f"out={quoted(text)}"))
        assert plain(argument) == ("out", text)
        spelling = working_spelling(f"+model.options.x={text}")
        assert spelling is not None
        assert shlex.split(spelling) == [f"+model.options.x={quoted(text)}"]
    assert working_spelling("dataset.aliases={a b: (c)}") is None


def test_the_kinds_of_keys() -> None:
    known = kinds()
    assert {known[key] for key in ("out", "gate.base_ref", "dataset.train.images", "finetune.start")} == {"text"}
    assert {known[key] for key in ("model.backbone", "dataset.how_to_get", "study")} == {"text or empty"}
    assert {known[key] for key in ("passes", "model.classes", "gate.allow")} == {"texts"}
    assert {known[key] for key in ("dataset.image_range", "finetune.scales")} == {"numbers"}
    assert {known[key] for key in ("batch_size", "protocol.rounds")} == {"other"}
    assert not {"model.options", "gate.thresholds", "dataset.aliases"} & set(known)
