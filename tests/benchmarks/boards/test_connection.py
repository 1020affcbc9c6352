"""Whoever is at the other end, no line is waited for without end."""

import subprocess
import sys
import time

import pytest

from leansight.benchmarks.boards.connection import Connection, SilentError


def process_of(code: str) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe)


def test_lines_come_whole_whatever_pieces_they_are_sent_in() -> None:
    code = (
        "import os, time\n"
        "for piece in (b'one\\ntw', b'o\\nthree\\n', b'rest'):\n"
        "    os.write(1, piece); time.sleep(0.05)"
    )
    with process_of(code) as process:
        connection = Connection(process)
        lines = [connection.line(30) for _ in range(4)]
    assert lines == [b"one\n", b"two\n", b"three\n", b""]


def test_more_than_a_pipe_holds_is_sent_whole() -> None:
    with process_of("import sys; print(len(sys.stdin.buffer.read(3000000)))") as process:
        connection = Connection(process)
        connection.send(b"x" * 3_000_000, 30)
        assert connection.line(30) == b"3000000\n"


def test_who_says_nothing_is_given_up() -> None:
    with process_of("import time; time.sleep(60)") as process:
        connection = Connection(process)
        began = time.monotonic()
        with pytest.raises(SilentError):
            connection.line(0.2)
        with pytest.raises(SilentError):  # takes what the pipe holds, and no more
            connection.send(b"x" * 10_000_000, 0.2)
        assert time.monotonic() - began < 30
        process.kill()


def test_who_drips_no_whole_line_is_given_up() -> None:
    code = "import os, time\nwhile True: os.write(1, b'x'); time.sleep(0.01)"
    with process_of(code) as process:
        with pytest.raises(SilentError):
            Connection(process).line(0.3)
        process.kill()


def test_who_has_ended_takes_nothing() -> None:
    with process_of("") as process:
        process.wait()
        with pytest.raises(BrokenPipeError):
            Connection(process).send(b"x" * 1_000_000, 30)
