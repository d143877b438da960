"""What a server must not do to a download: no answer of it gets into the cache, onto the disk or into a message."""

from __future__ import annotations

import base64
import io
import os
import pickle
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from local_server import serving

from bench.errors import UserError
from bench.weights import download
from bench.weights.download import cached_path, fetch

HEADER = b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
SAFETENSORS = len(HEADER).to_bytes(8, "little") + HEADER + b"\1\2\3\4"
PAGE = b"<!DOCTYPE html>\n<html><body>Sign in to go on</body></html>"
SECRET = "hf_s3cr3tT0ken"


def of_torch(zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": torch.arange(6.0), "b": torch.ones(3).half()}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


WHOLE = {
    "safetensors": SAFETENSORS,
    "zip": of_torch(True),
    "legacy": of_torch(False),
    "plain": pickle.dumps({"model": {"w": np.arange(6.0)}}, protocol=2),
}


@dataclass
class Site:
    """The next answers: each a status, a body, and headers; ``pause_s`` seconds pass before each byte of a body."""

    url: str = ""
    answers: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    pause_s: float = 0.0
    endless: bool = False


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.site.seen.append({"path": self.path, **self.headers})
        status, body, headers = self.site.answers.pop(0) if self.site.answers else (200, SAFETENSORS, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            while self.site.endless:
                self.wfile.write(bytes(1 << 20))
            if self.site.pause_s:
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(self.site.pause_s)
            else:
                self.wfile.write(body)
        except OSError:
            pass  # the client has heard enough


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download, "BACKOFF_S", 0.001)
    site = Site()
    with serving(Handler, site) as address:
        site.url = f"{address}/zoo/net.pth"
        yield site


def refused(url: str, cache: Path, *words: str, sha256: str | None = None) -> str:
    """Check that the download is refused in one line with these words, and that the cache has no file of it."""
    with pytest.raises(UserError) as caught:
        fetch(url, sha256, cache)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not cached_path(url, cache).exists()
    return str(caught.value)


@pytest.mark.parametrize("form", WHOLE)
def test_whole_weights_of_every_form_are_taken_without_a_digest(site: Site, tmp_path: Path, form: str) -> None:
    site.answers = [(200, WHOLE[form], {})]
    assert fetch(site.url, None, tmp_path).read_bytes() == WHOLE[form]


@pytest.mark.parametrize("form", WHOLE)
def test_weights_that_were_cut_are_not(site: Site, tmp_path: Path, form: str) -> None:
    """The answers have no length, so only the file itself can say that it ended too early."""
    for keep in (1, len(WHOLE[form]) // 2, len(WHOLE[form]) - 1):
        site.answers = [(200, WHOLE[form][:keep], {})]
        refused(site.url, tmp_path, site.url, "no whole file of weights", "model.zoo.url")
    assert fetch(site.url, None, tmp_path).read_bytes() == SAFETENSORS


def other_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "weights are elsewhere")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (200, b"", "empty"),
        (200, PAGE, "web page"),
        (200, b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs"),
        (200, other_zip(), "torch.save did not write"),
        (200, b"\x1f\x8b\x08\0 an archive", "unknown binary format"),
        (204, b"", "answers 204"),
        (203, b"", "answers 203"),
    ],
)
def test_an_answer_that_is_no_weights(site: Site, tmp_path: Path, status: int, body: bytes, word: str) -> None:
    site.answers = [(status, body, {"Content-Length": str(len(body))} if status == 200 else {})]
    refused(site.url, tmp_path, site.url, word)


def test_a_page_in_place_of_the_file_of_a_digest(site: Site, tmp_path: Path) -> None:
    site.answers = [(200, PAGE, {})]
    refused(site.url, tmp_path, "web page", "model.zoo.sha256", sha256="0123abcd")


def test_an_older_cache_that_holds_a_page(site: Site, tmp_path: Path) -> None:
    cached_path(site.url, tmp_path).write_bytes(PAGE)
    with pytest.raises(UserError, match=r"web page.*delete it"):  # it may be a file that the user has put there
        fetch(site.url, None, tmp_path)
    cached_path(site.url, tmp_path).unlink()
    assert fetch(site.url, None, tmp_path).read_bytes() == SAFETENSORS


def test_a_file_larger_than_the_limit(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_MAX_DOWNLOAD_GB", "0.01")
    site.answers = [(200, b"", {"Content-Length": "10000001"})]
    refused(site.url, tmp_path, "0.01", "MASKBENCH_MAX_DOWNLOAD_GB")
    site.endless = True  # and says no length
    refused(site.url, tmp_path, "the limit is 0.01", "MASKBENCH_MAX_DOWNLOAD_GB")
    assert [p for p in tmp_path.iterdir() if p.suffix != ".lock"] == []


@pytest.mark.parametrize("said", [True, False])
def test_a_disk_without_room(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bool) -> None:
    monkeypatch.setattr("bench.weights.cache.free_bytes", lambda folder: 1000)
    site.answers = [(200, SAFETENSORS, {"Content-Length": "1001"} if said else {})]
    refused(site.url, tmp_path, "no room", "MASKBENCH_CACHE")


def test_a_limit_that_is_no_number(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKBENCH_MAX_DOWNLOAD_GB", "20GB")
    refused(site.url, tmp_path, "MASKBENCH_MAX_DOWNLOAD_GB=20GB: must be a number", "as 20")


def test_one_byte_at_a_time(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.weights.limits.WINDOW_S", 0.2)
    site.pause_s = 0.02
    refused(site.url, tmp_path, "bytes came in 0 s", "MASKBENCH_MIN_DOWNLOAD_KB_S")
    monkeypatch.setenv("MASKBENCH_MIN_DOWNLOAD_KB_S", "0")
    assert fetch(site.url, None, tmp_path).read_bytes() == SAFETENSORS


def test_a_new_connection_for_every_byte(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection brings something, so none of them alone is a failure."""
    monkeypatch.setattr("bench.weights.limits.WINDOW_S", 0.2)
    monkeypatch.setattr(download, "BACKOFF_S", 0.05)
    length, etag = len(SAFETENSORS), {"ETag": '"v1"'}
    site.answers = [(200, SAFETENSORS[:1], {**etag, "Content-Length": str(length)})] + [
        (206, SAFETENSORS[i : i + 1], {**etag, "Content-Range": f"bytes {i}-{length - 1}/{length}"})
        for i in range(1, length)
    ]
    refused(site.url, tmp_path, "bytes came in")


def test_the_head_of_an_answer_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.weights.connection.HEAD_S", 0.2)
    monkeypatch.setattr(download, "ATTEMPTS", 1)

    class Trickle(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                for _ in range(200):
                    self.wfile.write(b"H")
                    time.sleep(0.05)
            except OSError:
                pass

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    began = time.monotonic()
    refused(f"http://127.0.0.1:{server.server_port}/net.pth", tmp_path, "cannot be downloaded")
    assert time.monotonic() - began < 5
    server.shutdown()


def redirect(old: str, new: str) -> Any:
    """Ask the policy for the request that follows a redirect."""
    from urllib.request import Request

    from bench.weights.connection import _Redirects

    return _Redirects().redirect_request(Request(old), None, 302, "Found", {}, new)


def test_https_is_never_left(site: Site, tmp_path: Path) -> None:
    assert redirect("https://zoo/net.pth", "https://cdn/net.pth?sig=1").full_url == "https://cdn/net.pth?sig=1"
    assert redirect("http://zoo/net.pth", "https://cdn/net.pth").full_url == "https://cdn/net.pth"
    for new in ("http://cdn/net.pth?sig=s3cr3t", "file:///etc/passwd", "ftp://cdn/net.pth"):
        with pytest.raises(UserError, match="leads on from https to") as caught:
            redirect(f"https://me:{SECRET}@zoo/net.pth?token={SECRET}", new)
        assert "s3cr3t" not in str(caught.value)
    site.answers = [(302, b"", {"Location": "ftp://127.0.0.1/net.pth"})]
    refused(site.url, tmp_path, "leads on from http to ftp")


@pytest.mark.parametrize("answer", [(404, b"", {}), (200, PAGE, {}), (204, b"", {}), (503, b"", {})])
def test_a_token_is_in_no_message(site: Site, tmp_path: Path, answer: tuple[int, bytes, dict[str, str]]) -> None:
    site.answers = [answer] * 5
    message = refused(f"{site.url}?token={SECRET}&download=true", tmp_path)
    assert SECRET not in message
    assert f"{site.url}?***" in message
    login = site.url.replace("://", f"://me:{SECRET}@")
    site.answers = [answer] * 5
    assert SECRET not in refused(login, tmp_path)
    for url in (f"https://me:{SECRET}@127.0.0.1:9/x y", f"ftp://127.0.0.1/?token={SECRET}"):
        with pytest.raises(UserError) as caught:
            fetch(url, None, tmp_path)
        assert SECRET not in str(caught.value)


def test_a_login_in_the_address_is_for_its_own_host_alone(site: Site, tmp_path: Path) -> None:
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    site.answers = [(302, b"", {"Location": elsewhere}), (200, SAFETENSORS, {})]
    fetch(site.url.replace("://", "://me:pass@"), None, tmp_path)
    assert base64.b64decode(site.seen[0]["Authorization"].removeprefix("Basic ")) == b"me:pass"
    assert "Authorization" not in site.seen[1]
    assert all("pass" not in path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["{}", "{}.part", "{}.part.json", "{}.lock"])
def test_a_planted_link_is_not_written_through(site: Site, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    target = precious if name != "{}" else tmp_path / "new"  # a link to what is there would count as cached
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / name.format(cached_path(site.url, cache).name)).symlink_to(target)
    site.answers = [(200, SAFETENSORS, {"ETag": '"v1"', "Content-Length": str(len(SAFETENSORS))})]
    path = fetch(site.url, None, cache)
    assert path.read_bytes() == SAFETENSORS
    assert not path.is_symlink()
    assert precious.read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_a_second_name_of_another_file_is_not_written_to(site: Site, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    os.link(precious, f"{cached_path(site.url, tmp_path)}.part")
    fetch(site.url, None, tmp_path)
    assert precious.read_text() == "mine"


def test_a_pipe_in_the_cache_is_not_waited_for(site: Site, tmp_path: Path) -> None:
    os.mkfifo(cached_path(site.url, tmp_path))
    with pytest.raises(UserError, match="not a regular file"):
        fetch(site.url, None, tmp_path)


def test_the_cache_is_the_users_own(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "new" / "weights"
    assert stat.S_IMODE(os.stat(fetch(site.url, None, cache).parent).st_mode) == 0o700
    cache.chmod(0o777)
    with pytest.raises(UserError, match=r"every user.*MASKBENCH_CACHE"):
        fetch(site.url, None, cache)
    cache.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(cache).st_uid + 1)
    with pytest.raises(UserError, match=r"another user.*MASKBENCH_CACHE"):
        fetch(site.url, None, cache)


def test_names_of_files_are_our_own(tmp_path: Path) -> None:
    for url in (
        "https://h/a/../%2e%2e/%2Fetc%2Fpasswd",
        "https://h/x%00y.pth",
        f"https://h/{'n' * 4000}.pth",
        "https://h",
    ):
        path = cached_path(url, tmp_path)
        assert path.parent == tmp_path
        assert len(path.name) < 120
        path.touch()


def test_the_answer_to_a_question_for_the_rest_is_not_trusted(site: Site, tmp_path: Path) -> None:
    """An answer 206 to a first question would be written behind bytes that nobody knows."""
    Path(f"{cached_path(site.url, tmp_path)}.part").write_bytes(b"old bytes")
    rest = (206, SAFETENSORS, {"Content-Range": f"bytes 0-{len(SAFETENSORS) - 1}/{len(SAFETENSORS)}"})
    site.answers = [rest, (200, SAFETENSORS, {})]
    assert fetch(site.url, None, tmp_path).read_bytes() == SAFETENSORS


def test_the_outline_of_a_file_needs_no_torch() -> None:
    code = "import sys, bench.weights.form; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2]).returncode == 0
