"""The command as a user runs it: in a process of its own, or here for its one-line errors."""

import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from leansight.sdk.commands import cli

MAIN = "from leansight.sdk.commands.cli import main; main()"


def leansight(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in a process of its own."""
    command = [sys.executable, "-c", before + MAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def invoke(*arguments: object, catch_exceptions: bool = True) -> Result:
    """Run the command in this process, which need not import torch again."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli.leansight, words, catch_exceptions=catch_exceptions)


def refusal(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Return the one line with which the command ends, in this process."""
    monkeypatch.setattr(sys, "argv", ["leansight", *arguments])
    assert cli.run() == 1
    written = capsys.readouterr()
    assert written.out == ""
    last = written.err.splitlines()[-1]
    assert last.startswith("leansight: ")
    return last
