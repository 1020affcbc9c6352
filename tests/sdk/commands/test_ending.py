"""Every command ends with the exit code that a shell expects, and says at most one line."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from command_line import MAIN, leansight

from leansight.runtime.errors import DataError
from leansight.sdk.commands.cli import COMMANDS
from leansight.sdk.commands.ending import exit_code_of
from leansight.sdk.commands.options.flags import line_of

# Run before the command: any of its work is this line instead.
INSTEAD = """
import sys
import leansight.sdk.commands.cli as cli
from click import Command
def work(self, ctx):
    if self.name == "leansight":  # the group itself
        return
    {work}
Command.invoke = work
sys.argv = ["leansight", {command!r}]
cli.LazyGroup.resolve_command = lambda self, ctx, args: (
    args[0], Command(args[0]), args[1:]
)
"""


def run_instead(work: str, command: str = "check") -> subprocess.CompletedProcess[str]:
    return leansight(before=INSTEAD.format(work=work, command=command))


def test_a_program_ends_at_once_and_as_it_should() -> None:
    work = (
        "import atexit, sys; cli.kept = type('Library', (), {}); "
        "cli.kept.__del__ = lambda self: print('taken apart'); cli.kept = cli.kept(); "
        "atexit.register(print, 'registered'); print('told', end=' '); sys.exit(3)"
    )
    done = run_instead(work)
    assert (done.returncode, done.stdout, done.stderr) == (3, "told registered\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_ends_every_command_with_130(command: str) -> None:
    done = run_instead("import os, signal; os.kill(os.getpid(), signal.SIGINT)", command)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_ctrl_c_in_the_middle_of_real_work(tiny_bundle: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "bench", tiny_bundle, "--runs", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():  # the worker that measures, for minutes
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "stopped\n")
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("work", "line"),
    [
        ("raise MemoryError('4 TB')", "there is not enough memory (MemoryError: 4 TB): end other"),
        (
            "raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory')",
            "there is not enough memory (RuntimeError: DefaultCPUAllocator: can't allocate memory)",
        ),
        (
            "raise PermissionError(13, 'Permission denied', '/etc/shadow')",
            "/etc/shadow: permission denied: change its permissions, or choose another",
        ),
        (
            "raise OSError(28, 'No space left on device')",
            "no space left on device: free some space, or choose another folder",
        ),
    ],
)
def test_what_the_machine_lacks_is_one_line(work: str, line: str) -> None:
    done = run_instead(work)
    assert done.returncode == 1
    assert done.stderr.startswith(f"leansight: {line}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["ValueError", "EOFError", "RecursionError", "UnicodeError"])
def test_an_error_that_was_not_foreseen_is_one_line_and_a_report(kind: str) -> None:
    done = run_instead(f"raise {kind}('of a library\\nin two lines')")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "`leansight check` failed in a way that was not foreseen" in done.stderr
    report = Path(done.stderr.rstrip().rpartition(" ")[2])
    text = report.read_text()
    report.unlink()
    assert text.startswith("leansight check\n")
    assert "Traceback (most recent call last)" in text
    assert "in two lines" in text


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_goes_away_ends_it_quietly(lines: int) -> None:
    before = INSTEAD.format(
        work=f"import click\n    for _ in range({lines}): click.echo('a line')", command="check"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", before + MAIN], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 128 + signal.SIGPIPE


@pytest.mark.parametrize("arguments", [("--help",), ("recipes",)])
def test_a_full_disk_under_standard_output_is_one_line(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "leansight: no space left on device: free some space, or choose another folder\n"
    )


def test_a_full_disk_under_standard_error_too_leaves_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1) as full:
        monkeypatch.setattr("sys.stderr", full)
        assert exit_code_of(fail, str) == 1
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_names_that_cannot_be_printed_are_escaped() -> None:
    name = os.fsdecode(b"\x1b[31mcaf\xe9\n.jpg")
    assert line_of(DataError(f"{name} is no image")) == (
        "leansight: \\x1b[31mcaf\\udce9\\n.jpg is no image"
    )
    said = line_of(FileNotFoundError(errno.ENOENT, "No such file or directory", name))
    assert said == "leansight: \\x1b[31mcaf\\udce9\\n.jpg: no such file or directory"


def test_what_standard_output_cannot_encode_is_escaped() -> None:
    done = leansight(
        before="import sys; sys.stdout.reconfigure(encoding='latin-1')\n"
        + INSTEAD.format(work="import click; click.echo('caf\\udce9 \\u2603')", command="check")
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "caf\\udce9 \\u2603\n"


def test_an_exit_code_of_the_command_stays() -> None:
    def stop() -> None:
        raise SystemExit(3)

    assert exit_code_of(stop, str) == 3
    assert exit_code_of(lambda: click.echo("done"), str) == 0
