"""What is left out of texts and paths that are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.private.paths import publishable_config, publishable_path
from bench.private.texts import publishable, without_credentials, without_home, without_secrets


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://zoo.org/a/net.pth", "https://zoo.org/a/net.pth"),
        ("https://me:pa55@zoo.org/net.pth", "https://zoo.org/net.pth"),
        ("https://zoo.org/net.pth?token=abc&x=1", "https://zoo.org/net.pth?***"),
        ("ftp://pa55@zoo.org/net.pth#frag", "ftp://zoo.org/net.pth?***"),
        ("model.zoo.url=https://me@zoo.org:8080/n?a", "model.zoo.url=https://zoo.org:8080/n?***"),
    ],
)
def test_an_address_without_credentials(address: str, shown: str) -> None:
    assert without_credentials(address) == shown


def test_a_line_of_a_secret_is_a_secret() -> None:
    """The last line of a key stood whole in the reason of a worker that had printed it and died."""
    key = {"-----BEGIN KEY-----\nMIIEvQIBADANBg\nq8sD=\n": "${oc.env:KEY}"}
    assert without_secrets("its last words: MIIEvQIBADANBg", key) == "its last words: ${oc.env:KEY}"


def test_secrets_in_a_text() -> None:
    texts = {"s3cr3t-value": "${oc.env:T}", "two\nlines of a key": "${oc.env:KEY}", "on": "${oc.env:ON}"}
    assert without_secrets("Bearer s3cr3t-value", texts) == "Bearer ${oc.env:T}"
    assert without_secrets("'two\\nlines of a key' on two lines of a key", texts) == "'${oc.env:KEY}' on ${oc.env:KEY}"
    paper = "https://openreview.net/pdf?id=abc&p=2"
    assert without_secrets(f"{paper} and https://me:pw@h/x?X-Amz-Signature=f00&id=1") == (
        f"{paper} and https://h/x?X-Amz-Signature=***&id=1"
    )


def test_home_and_name_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = tmp_path / "disk" / "ada"
    real.mkdir(parents=True)
    (tmp_path / "home").mkdir()
    home = tmp_path / "home" / "ada"
    home.symlink_to(real)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "ada")
    for text, shown in (
        (f"no file {home}/x.py, see {home}.", "no file ~/x.py, see ~."),
        (f"{real}/x.py", "~/x.py"),
        (f"{home}lbert/x.py", f"{home}lbert/x.py"),
        ("/scratch/ada/coco", "/scratch/USER/coco"),
        ("ada and /usr/lib/adapters", "ada and /usr/lib/adapters"),
    ):
        assert without_home(text) == shown
    nested = {"notes": [f"{home}/a", 3, None], "samples": [1.5, 2.5], "texts": {"a": (f"{real}/b",)}}
    assert publishable(nested) == {"notes": ["~/a", 3, None], "samples": [1.5, 2.5], "texts": {"a": ["~/b"]}}


def test_a_user_without_a_name_or_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", none)
    monkeypatch.setenv("HOME", "/")
    assert without_home("/data/x and /home/ada/y") == "/data/x and /home/ada/y"


def test_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = tmp_path / "project"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path, shown in (
        ("zoo", "zoo"),
        ("data/images", "data/images"),
        (f"{here}/data/images", "data/images"),
        ("../elsewhere/w.pth", "w.pth"),
        ("/mnt/ada/w.pth", "w.pth"),
        ("~/w.pth", "w.pth"),
        ("~/project/w.pth", "w.pth"),
        ("main@latest", "main@latest"),
    ):
        assert publishable_path(path) == shown


def test_the_paths_of_a_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").touch()
    train = {"images": "/a/train", "annotations": None, "shapes": None}
    model: dict[str, Any] = {"weights": "/a/w.pth", "python": "/env/bin/python", "_target_": "/a/b/file.py:Class"}
    model["options"] = {"checkpoint": "/etc/passwd", "route": "/v1/absent", "deep": [{"file": f"{tmp_path}/there"}]}
    dataset = {"images": f"{tmp_path}/images", "annotations": "/a/b.json", "shapes": {"cache": "/c/d"}, "train": train}
    config = {"model": model, "dataset": dataset, "gate": None, "out": "/a/out", "baseline": None}
    shown = publishable_config(config)
    assert shown == {
        "model": {
            "weights": "w.pth",
            "python": "python",
            "_target_": "file.py:Class",
            "options": {"checkpoint": "passwd", "route": "/v1/absent", "deep": [{"file": "there"}]},
        },
        "dataset": {
            "images": "images",
            "annotations": "b.json",
            "shapes": {"cache": "d"},
            "train": {"images": "train", "annotations": None, "shapes": None},
        },
        "gate": None,
        "out": "out",
        "baseline": None,
    }
    assert model["weights"] == "/a/w.pth"  # it was copied
    assert publishable_config(shown) == shown
