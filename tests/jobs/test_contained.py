"""Tests that a process with code of the user's is ended with all that it started, and cannot harm who started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from supervised import SLEEPER_OF_ITS_OWN_SESSION, contained, is_running, number_in, wait_for

from bench.jobs.messages import LONGEST_LINE, Inbox, Ready, encode
from bench.jobs.process.limits import Limits
from bench.jobs.worker.supervise import END_BYTES, LOG_BYTES

HERE = Path(__file__).resolve()


@pytest.mark.parametrize(
    ("does", "code", "cause"),
    [
        ("sys.exit(7)", 7, "ended with exit status 7 before its result was complete; worker.log is empty"),
        ("print('I am lost'); os._exit(0)", 0, "before its result was complete; its last words: I am lost"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -11, "was killed by SIGSEGV; see worker.log"),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, "was killed by SIGKILL, by the kernel if"),
        ("os.kill(os.getpid(), 40)", -40, "was killed by signal 40; see worker.log"),
        ("os.killpg(0, signal.SIGTERM)", -15, "was killed by SIGTERM; see worker.log"),
    ],
)
def test_an_end_is_told_as_it_was(tmp_path: Path, does: str, code: int, cause: str) -> None:
    with contained(tmp_path, does) as process:
        assert process.returncode == code
        assert cause in process.cause_of_death()


def test_a_log_that_is_gone_is_told(tmp_path: Path) -> None:
    with contained(tmp_path, "os.remove('worker.log'); sys.exit(3)") as process:
        assert process.cause_of_death() == "ended with exit status 3 before its result was complete; worker.log is gone"


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), signal.SIGSEGV)", "time.sleep(60)"])
def test_what_it_started_is_ended_with_it(tmp_path: Path, end: str) -> None:
    """Also a process in a session of its own; and also where the process itself is killed by us."""
    with contained(tmp_path, SLEEPER_OF_ITS_OWN_SESSION + end) as process:
        sleeper = wait_for(lambda: number_in(tmp_path / "sleeper"))
        if "sleep" not in end:
            assert process.returncode in (0, -11)
            assert not is_running(sleeper)
    assert not is_running(sleeper)


def test_a_forked_child_that_holds_all_descriptors_hides_no_death(tmp_path: Path) -> None:
    began = time.monotonic()
    with contained(tmp_path, "if os.fork(): os.kill(os.getpid(), signal.SIGSEGV)\ntime.sleep(60)") as process:
        while process.alive:
            assert process.messages(0.5) == []
        assert process.returncode == -11
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("work", ["time.sleep(60)", "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"])
def test_it_does_not_outlive_its_command(tmp_path: Path, work: str) -> None:
    """The command is killed while the process works, which it would do for a minute."""
    own = "\npathlib.Path('own').write_text(str(os.getpid()))\n"
    command = (
        f"import sys, time; sys.path[:0] = {sys.path!r}\n"
        f"from pathlib import Path; from supervised import contained\n"
        f"contained(Path({str(tmp_path)!r}), {SLEEPER_OF_ITS_OWN_SESSION + own + work!r}); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", command])
    processes = [wait_for(lambda name=name: number_in(tmp_path / name)) for name in ("own", "sleeper")]
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(is_running(process) for process in processes))


def test_ctrl_c_reaches_the_work(tmp_path: Path) -> None:
    does = "try:\n    print('begun'); time.sleep(60)\nexcept KeyboardInterrupt:\n    sys.exit(5)"
    with contained(tmp_path, does) as process:
        wait_for(lambda: (tmp_path / "worker.log").read_text() == "begun\n")
        process.interrupt()
        assert process.returncode == 5


def test_a_log_has_an_end(tmp_path: Path) -> None:
    """Of 40 MB the beginning and the end are kept."""
    does = "print('first'); os.write(1, b'x' * 40_000_000); print(); print('last words'); sys.exit(1)"
    with contained(tmp_path, does) as process:
        assert process.cause_of_death().endswith("its last words: last words")
    log = (tmp_path / "worker.log").read_bytes()
    assert LOG_BYTES < len(log) < LOG_BYTES + END_BYTES + 100
    assert log.startswith(b"first\nx")
    left_out = 40_000_000 + len("first\n\nlast words\n") - LOG_BYTES - END_BYTES
    assert f"[{left_out} bytes left out".encode() in log


def test_the_memory_of_an_orphan_counts(tmp_path: Path) -> None:
    """The one that takes 300 MB is a grandchild in a session of its own, whose parent has ended."""
    hog = "import pathlib, time; kept = bytearray(b'x') * 300_000_000; pathlib.Path('full').touch(); time.sleep(60)"
    starts = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {hog!r}], start_new_session=True)"
    with contained(tmp_path, f"subprocess.run([sys.executable, '-c', {starts!r}]); time.sleep(60)") as process:
        wait_for((tmp_path / "full").exists)
        status, reason = Limits(None, "", 0.3).exceeded(process.pid) or ("", "")
        assert status == "out_of_memory"
        assert "the limit is 0.3 GB (protocol.memory_limit_gb)" in reason
        assert Limits(None, "", 3).exceeded(process.pid) is None


@pytest.mark.parametrize("piece", [b"x" * 10, b"x" * 65536])
def test_a_line_without_end_is_refused(piece: bytes) -> None:
    """In pieces of any size, and soon: a buffer that grew by copying would take minutes for pieces of ten bytes."""
    inbox, began = Inbox(), time.process_time()
    for _ in range(LONGEST_LINE // len(piece)):
        assert inbox.receive(piece) == []
    with pytest.raises(ValueError, match=f"a line of more than {LONGEST_LINE} bytes"):
        inbox.receive(piece)
    assert time.process_time() - began < 10


def test_messages_that_come_with_a_wrong_line_are_given_before_it() -> None:
    inbox = Inbox()
    assert inbox.receive(encode(Ready()) + b"[1]\n" + encode(Ready())) == [Ready()]
    for data in (b"", encode(Ready())):
        with pytest.raises(ValueError, match=r"no message of a worker: b'\[1\]'"):
            inbox.receive(data)


def test_a_wrong_line_of_a_process_that_has_ended_is_told(tmp_path: Path) -> None:
    lines = encode(Ready()) + b"[1]\n"
    with contained(tmp_path, f"os.write(descriptor, {lines!r})") as process:
        process.wait(20)
        assert process.messages(1) == [Ready()]
        with pytest.raises(ValueError, match="no message of a worker"):
            process.messages(0)


def test_a_line_without_end_ends_the_reading(tmp_path: Path) -> None:
    endless = "while True: os.write(descriptor, b'x' * 1000)"
    with contained(tmp_path, endless) as process, pytest.raises(ValueError, match="a line of more than"):
        wait_for(lambda: process.messages(0.5))


def test_a_process_may_close_its_descriptors_and_live_on(tmp_path: Path) -> None:
    began = os.times()
    with contained(tmp_path, "os.closerange(0, 100); time.sleep(1); os._exit(4)") as process:
        while process.alive:
            process.messages(0.5)
        assert process.returncode == 4
    now = os.times()
    assert now.user + now.system - began.user - began.system < 0.5


def test_the_answer_of_a_descriptor_is_not_what_is_printed(tmp_path: Path) -> None:
    ready = b'{"kind": "ready"}\n'
    does = f"os.system('echo MyNet v3'); print('more'); os.write(descriptor, {ready!r})"
    with contained(tmp_path, does) as process:
        assert len(wait_for(lambda: process.messages(0.5))) == 1
        assert process.returncode == 0
    assert (tmp_path / "worker.log").read_text() == "MyNet v3\nmore\n"
