"""What reaches the screen of a program that runs inside of `without_library_logs`."""

import os
import subprocess
import sys

import pytest

from leansight.sdk.system import library_logs

PROGRAM = """
import logging, os, sys, warnings
from leansight.sdk.system.library_logs import without_library_logs

class Reader:
    def __del__(self):
        raise OSError("no space left")

with without_library_logs() as log:
    os.write(2, b"libpng error: IDAT: CRC error\\n")
    logging.getLogger("a.library").warning("three workers would be better")
    warnings.warn("deprecated", FutureWarning)
    Reader()  # which raises while Python removes it
    print("two of nine images cannot be read", file=sys.stderr)
    {end}
os.write(2, b"after\\n")
print("its own stream again", file=sys.stderr)
"""


def run(end: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(end=end)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def test_only_what_is_written_to_sys_stderr_appears() -> None:
    assert run("") == "two of nine images cannot be read\nafter\nits own stream again\n"


def test_the_log_can_be_read_for_a_report() -> None:
    said = run("print('of libraries:', log().splitlines(), file=sys.stderr)")
    assert "of libraries: ['libpng error: IDAT: CRC error', 'ignored in " in said
    assert "OSError: no space left']" in said


def test_who_debugs_sees_all() -> None:
    said = run("", PYTHONWARNINGS="default")
    assert "libpng error" in said
    assert "three workers" in said
    assert "FutureWarning: deprecated" in said


def test_a_process_that_is_started_inside_writes_to_the_screen() -> None:
    child = "import subprocess; from leansight.sdk.system.library_logs import *; "
    start = "subprocess.run([sys.executable, '-c', 'import os; os.write(2, b\"a child\\\\n\")'])"
    hidden, shown = run(f"{child}{start}"), run(f"{child}\n    with screen_for_children(): {start}")
    assert "a child" not in hidden
    assert "a child" in shown


def test_a_stream_of_another_kind_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stderr
    with library_logs.without_library_logs():
        assert sys.stderr is before
        sys.stderr.write("said\n")
    assert capsys.readouterr().err == "said\n"
