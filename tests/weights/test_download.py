"""Downloads from a real HTTP server on this machine that cuts, lies and changes its mind as told."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from local_server import serving

from bench.errors import UserError
from bench.files.digests import sha256_of
from bench.weights import download
from bench.weights.download import cached_path, fetch

HEADER = b'{"w":{"dtype":"U8","shape":[299872],"data_offsets":[0,299872]}}'.ljust(120)
DATA = bytes((i * i + i // 251) % 256 for i in range(299_872))
BODY = len(HEADER).to_bytes(8, "little") + HEADER + DATA
"""A file of weights, in the format safetensors, of 300,000 bytes."""

OTHER_BODY = BODY[:128] + bytes(reversed(DATA))
DIGEST = hashlib.sha256(BODY).hexdigest()


@dataclass
class Site:
    """What the server does. ``cuts`` holds, for each coming answer, after how many bytes to drop the connection."""

    body: bytes = BODY
    etag: str | None = '"v1"'
    ranges: bool = True
    obey_if_range: bool = True
    chunked: bool = False
    status: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.site
        site.seen.append(dict(self.headers))
        self.close_connection = True
        if status := (site.status.pop(0) if site.status else 0):
            self.send_error(status)
            return
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        unchanged = not site.obey_if_range or self.headers.get("If-Range", site.etag) == site.etag
        if site.ranges and wanted and unchanged:
            start = int(wanted[1])
        body = site.body[start:]
        self.send_response(206 if start else 200)
        if site.etag:
            self.send_header("ETag", site.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(site.body) - 1}/{len(site.body)}")
        if site.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: site.cuts.pop(0)] if site.cuts else body
        if site.chunked:
            end = b"0\r\n\r\n" if len(sent) == len(body) else b""
            self.wfile.write(b"%x\r\n%s\r\n%s" % (len(sent), sent, end))
        else:
            self.wfile.write(sent)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download, "BACKOFF_S", 0.001)
    site = Site()
    with serving(Handler, site) as address:
        site.url = f"{address}/zoo/net-{DIGEST[:8]}.pth"
        yield site


def leftovers(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock"))


def test_whole_file_with_full_digest(site: Site, tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    path = fetch(site.url, DIGEST, tmp_path, lambda done, total: calls.append((done, total)))
    assert path.read_bytes() == BODY
    assert sha256_of(path) == DIGEST
    assert calls[-1] == (len(BODY), len(BODY))
    assert [c[0] for c in calls] == sorted(c[0] for c in calls)
    assert leftovers(tmp_path) == [path.name]


def test_second_call_does_not_touch_the_server(site: Site, tmp_path: Path) -> None:
    first = fetch(site.url, DIGEST[:8], tmp_path)
    assert fetch(site.url, DIGEST[:8], tmp_path) == first
    assert fetch(site.url, None, tmp_path) == first
    assert len(site.seen) == 1


def test_cut_connection_resumes_in_the_same_call(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000, 50_000]
    path = fetch(site.url, DIGEST, tmp_path)
    assert path.read_bytes() == BODY
    assert [s.get("Range") for s in site.seen] == [None, "bytes=100000-", "bytes=150000-"]
    assert [s.get("If-Range") for s in site.seen] == [None, '"v1"', '"v1"']


def test_cut_connection_resumes_in_a_later_call(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000] + [0] * download.ATTEMPTS
    with pytest.raises(UserError, match=r"ended after 100000 of 300000 bytes.*by hand at"):
        fetch(site.url, DIGEST, tmp_path)
    site.cuts, site.seen = [], []
    assert fetch(site.url, DIGEST, tmp_path).read_bytes() == BODY
    assert [s.get("Range") for s in site.seen] == ["bytes=100000-"]
    assert len(leftovers(tmp_path)) == 1


def test_many_cuts_that_each_bring_bytes_are_no_failure(site: Site, tmp_path: Path) -> None:
    site.cuts = [20_000] * 14
    assert fetch(site.url, DIGEST, tmp_path).read_bytes() == BODY
    assert len(site.seen) == 15


@pytest.mark.parametrize("obeys", [True, False])
def test_file_changed_between_cut_and_resume_starts_anew(site: Site, tmp_path: Path, obeys: bool) -> None:
    site.cuts = [100_000] + [0] * download.ATTEMPTS
    with pytest.raises(UserError):
        fetch(site.url, None, tmp_path)
    site.cuts, site.body, site.etag, site.obey_if_range = [], OTHER_BODY, '"v2"', obeys
    assert fetch(site.url, None, tmp_path).read_bytes() == OTHER_BODY


def test_no_etag_starts_anew(site: Site, tmp_path: Path) -> None:
    site.etag, site.cuts = None, [100_000]
    assert fetch(site.url, DIGEST, tmp_path).read_bytes() == BODY
    assert [s.get("Range") for s in site.seen] == [None, None]


def test_server_without_ranges_starts_anew(site: Site, tmp_path: Path) -> None:
    site.ranges, site.cuts = False, [100_000]
    assert fetch(site.url, DIGEST, tmp_path).read_bytes() == BODY
    assert [s.get("Range") for s in site.seen] == [None, "bytes=100000-"]


def test_chunked_answer_that_is_cut(site: Site, tmp_path: Path) -> None:
    site.chunked, site.cuts = True, [100_000]
    calls: list[tuple[int, int | None]] = []
    assert fetch(site.url, DIGEST, tmp_path, lambda done, total: calls.append((done, total))).read_bytes() == BODY
    assert calls[0][1] is None
    assert site.seen[-1]["Range"] == "bytes=100000-"


def test_wrong_checksum_deletes_and_names_both_digests(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch(site.url, "0123abcd", tmp_path)
    assert DIGEST in str(caught.value)
    assert "0123abcd" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


def test_cached_file_is_verified_too(site: Site, tmp_path: Path) -> None:
    path = cached_path(site.url, tmp_path)
    path.write_bytes(BODY[:-1])
    with pytest.raises(UserError, match=DIGEST[:8]):
        fetch(site.url, DIGEST[:8], tmp_path)
    assert fetch(site.url, DIGEST[:8], tmp_path).read_bytes() == BODY


def test_file_put_by_hand_is_taken(site: Site, tmp_path: Path) -> None:
    cached_path(site.url, tmp_path).write_bytes(BODY)
    assert fetch(site.url, DIGEST, tmp_path).read_bytes() == BODY
    assert site.seen == []


def test_404_names_the_url_and_is_not_tried_again(site: Site, tmp_path: Path) -> None:
    site.status = [404]
    with pytest.raises(UserError, match=re.escape(site.url) + ".*404"):
        fetch(site.url, None, tmp_path)
    assert len(site.seen) == 1
    assert leftovers(tmp_path) == []


def test_503_is_tried_again(site: Site, tmp_path: Path) -> None:
    site.status = [503, 429]
    assert fetch(site.url, DIGEST, tmp_path).read_bytes() == BODY
    assert len(site.seen) == 3


def test_416_starts_anew(site: Site, tmp_path: Path) -> None:
    site.cuts, site.status = [100_000], [0, 416]
    assert fetch(site.url, DIGEST, tmp_path).read_bytes() == BODY
    assert [s.get("Range") for s in site.seen] == [None, "bytes=100000-", None]


def test_no_network_says_where_to_put_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "BACKOFF_S", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    # Port 9 (discard) of this machine refuses the connection.
    url = "http://127.0.0.1:9/zoo/net.pth"
    with pytest.raises(UserError) as caught:
        fetch(url, None, tmp_path)
    assert str(cached_path(url, tmp_path)) in str(caught.value)
    assert url in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sha256", ["", "xyz", "12", "0" * 65])
def test_sha256_that_is_none(site: Site, tmp_path: Path, sha256: str) -> None:
    with pytest.raises(UserError, match=r"zoo\.sha256"):
        fetch(site.url, sha256, tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/x", "model.pth"])
def test_only_http(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="http"):
        fetch(url, None, tmp_path)


def test_cache_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UserError, match="MASKBENCH_CACHE"):
        fetch(site.url, None, blocked)


def test_threads_and_a_process_share_one_download(site: Site, tmp_path: Path) -> None:
    code = "import sys, pathlib, bench.weights.download as d; d.fetch(sys.argv[1], None, pathlib.Path(sys.argv[2]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, site.url, str(tmp_path)], cwd=Path(__file__).resolve().parents[2]
    )
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(site.url, DIGEST, tmp_path).read_bytes())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.wait(60) == 0
    assert found == [BODY] * 4
    assert len(site.seen) == 1


def test_environment_variable_moves_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path))
    a = cached_path("https://example.org/a/model.safetensors")
    b = cached_path("https://example.org/b/model.safetensors?download=true")
    assert a.parent == tmp_path / "weights"
    assert a != b
    assert a.name.endswith("-model.safetensors")
    assert b.name.endswith("-model.safetensors")


def test_imports_no_torch() -> None:
    code = "import sys, bench.weights.download; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2]).returncode == 0
