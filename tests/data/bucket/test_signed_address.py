"""Tests of addresses whose query is a signature, as a bucket gives for one file: it must stand nowhere."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.data.bucket.copied import local_copy
from bench.data.dataset import paths
from bench.errors import UserError
from bench.schema.config import DatasetConfig

pytest.importorskip("aiohttp")

SIGNATURE = "0f1e2d3c" * 50
"""Longer than the name of a file can be."""

QUERIES = (f"X-Amz-Signature={SIGNATURE}", f"X-Amz-Credential=AKIA/eu/s3&X-Amz-Signature=/{SIGNATURE}")


class _Bucket(SimpleHTTPRequestHandler):
    """Serves files whatever the query is, with a digest of each where ``etag`` is one."""

    etag: str | None = '"1"'

    def translate_path(self, path: str) -> str:
        return super().translate_path(urlsplit(path).path)

    def end_headers(self) -> None:
        if self.etag is not None:
            self.send_header("ETag", self.etag)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a folder with ``annotations.json``, without the query."""
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "annotations.json").write_text("{}")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Bucket, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/annotations.json"
        server.shutdown()


@pytest.mark.parametrize("query", QUERIES)
def test_the_copy_has_the_name_of_the_file_alone(served: str, query: str, tmp_path: Path) -> None:
    """The last part of the copy's path is published: it is what a report calls the set."""
    _, copy = paths(DatasetConfig("coco", None, f"{served}?{query}"))
    assert copy.name == "annotations.json"
    assert copy.read_text() == "{}"
    assert not [path for path in (tmp_path / "cache").rglob("*") if SIGNATURE in str(path)]


def test_another_signature_of_the_same_file_is_the_same_copy(served: str) -> None:
    first, second = (local_copy(f"{served}?sig={name}", "dataset.annotations", folder=False) for name in "ab")
    assert first == second


@pytest.mark.parametrize("query", QUERIES)
def test_no_message_has_the_signature(served: str, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Bucket, "etag", None)
    with pytest.raises(UserError) as told:
        local_copy(f"{served}?{query}", "dataset.annotations", folder=False)
    assert str(told.value) == (
        f"dataset.annotations={served}?***: cannot be read: it gives neither a digest of annotations.json nor when it "
        f"was changed, so a change would not be seen"
    )
