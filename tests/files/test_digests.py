"""Tests that a file is read once for its digest, and again as soon as it may hold something else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from bench.files import digests
from bench.files.digests import SAMPLE_BYTES, WHOLE_BYTES, known_digests, samples_sha256, sha256_of, take_over
from bench.jobs.job import PlannedJob, read_job, write_job
from bench.schema.config import BenchConfig


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files count as at rest at once; gives the paths that are read from now on."""
    opened: list[str] = []
    monkeypatch.setattr(digests, "_AT_REST_SECONDS", -60.0)
    monkeypatch.setattr(digests, "_known", {})

    def counted(path: str, mode: str) -> IO[bytes]:
        opened.append(path)
        return open(path, mode)

    monkeypatch.setattr(digests, "open", counted, raising=False)
    return opened


def test_a_file_that_many_rows_name_is_read_once(reads: list[str], tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    assert {sha256_of(path) for _ in range(18)} == {sha256(b"weights")}
    assert len(reads) == 1


def _in_place(path: Path) -> None:
    path.write_bytes(b"WEIGHTS")


def _with_the_old_times(path: Path) -> None:
    """As ``cp -p`` over the file or ``touch -r`` leaves it: same inode, size and time of change."""
    before = path.stat()
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def _renamed_over(path: Path) -> None:
    before, other = path.stat(), path.with_name("other.pt")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def _linked(path: Path) -> None:
    other = path.with_name("other.pt")
    other.write_bytes(b"WEIGHTS")
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize("replace", [_in_place, _with_the_old_times, _renamed_over, _linked])
def test_a_file_that_was_replaced_is_read_again(
    reads: list[str], tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    assert sha256_of(path) == sha256(b"weights")
    replace(path)
    assert sha256_of(path) == sha256(b"WEIGHTS")
    assert len(reads) == 2


def test_a_worker_reads_only_what_has_changed_since(
    reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for path in paths:
        path.write_bytes(b"weights")
        sha256_of(path)
    handed_over = known_digests()
    monkeypatch.setattr(digests, "_known", {})
    take_over(handed_over)
    _with_the_old_times(paths[1])
    reads.clear()
    assert [sha256_of(path) for path in paths] == [sha256(b"weights"), sha256(b"WEIGHTS")]
    assert reads == [str(paths[1])]


def test_every_worker_of_a_command_gets_them(reads: list[str], tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    sha256_of(path)
    planned = PlannedJob(BenchConfig(), {}, tmp_path / "jobs" / "net")
    write_job(planned)
    assert read_job(planned.folder).digests == known_digests() != {}


def test_a_file_that_has_just_been_written_is_not_taken_for_known(
    reads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second change within the same step of the file system's clock would leave all its times as they are."""
    monkeypatch.setattr(digests, "_AT_REST_SECONDS", 2.0)
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    sha256_of(path)
    assert known_digests() == {}
    sha256_of(path)
    assert len(reads) == 2


def test_a_file_that_is_absent_is_an_error(reads: list[str], tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    sha256_of(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        sha256_of(path)


@pytest.fixture
def sampled(reads: list[str], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give the size of each file of which a sample is read from now on."""
    sizes: list[int] = []
    add = digests._add_sample
    monkeypatch.setattr(digests, "open", open, raising=False)
    monkeypatch.setattr(digests, "_add_sample", lambda to, file, size: (sizes.append(size), add(to, file, size)))
    return sizes


@pytest.mark.parametrize("size", [1, WHOLE_BYTES])
def test_a_small_file_is_read_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.bmp"
    path.write_bytes(bytes(size))
    before = samples_sha256([path])
    for place in {0, size // 3, size - 1}:
        path.write_bytes(bytes(place) + b"1" + bytes(size - place - 1))
        assert samples_sha256([path]) != before


@pytest.mark.parametrize(
    ("place", "noticed"),
    [(0, True), (SAMPLE_BYTES - 1, True), (SAMPLE_BYTES, False), (50_000, True), (99_999, True), (20_000, False)],
)
def test_of_a_large_file_beginning_middle_and_end_are_read(tmp_path: Path, place: int, noticed: bool) -> None:
    size, path = 100_000, tmp_path / "a.bmp"
    path.write_bytes(bytes(size))
    before = samples_sha256([path])
    path.write_bytes(bytes(place) + b"1" + bytes(size - place - 1))
    assert (samples_sha256([path]) != before) is noticed
    path.write_bytes(bytes(size + 1))
    assert samples_sha256([path]) != before


def test_samples_are_read_once_by_a_command_and_its_workers(
    sampled: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker learns by the job's file that nothing has changed; the file does not grow with the number of images."""
    paths = [tmp_path / f"{number}.bmp" for number in range(20)]
    for path in paths:
        path.write_bytes(path.name.encode() * 10_000)
    before = samples_sha256(paths)
    assert samples_sha256(paths) == before
    assert len(sampled) == 20
    write_job(PlannedJob(BenchConfig(), {}, tmp_path))
    told = read_job(tmp_path).digests
    assert len(told) == 1
    monkeypatch.setattr(digests, "_known", {})
    take_over(told)
    assert samples_sha256(paths) == before
    assert len(sampled) == 20
    content, times = paths[7].read_bytes(), paths[7].stat()
    paths[7].write_bytes(content[::-1])
    os.utime(paths[7], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert samples_sha256(paths) != before
    assert samples_sha256(paths[::-1]) != before


def test_a_sample_of_a_file_that_was_just_written_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_known", {})
    (tmp_path / "a").write_bytes(b"a")
    samples_sha256([tmp_path / "a"])
    assert known_digests() == {}


@pytest.mark.timeout(20)
def test_a_pipe_among_the_files_is_not_waited_for(tmp_path: Path) -> None:
    """A report takes the digest of files that a result of anybody names."""
    os.mkfifo(tmp_path / "pipe.bmp")
    with pytest.raises(OSError, match="is no file"):
        samples_sha256([tmp_path / "pipe.bmp"])
