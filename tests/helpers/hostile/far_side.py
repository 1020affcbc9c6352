"""Machines behind an `ssh` that stays here, where a command runs into faults of its own.

A process that has imported all that the command needs waits for `programs/ssh_to_a_fork.py`. The
command runs in a fork of it, in a folder of its machine, and what ssh relays is its standard input.
"""

import json
import os
import shlex
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from doubles.far_machine import executable
from hostile.cost import fork
from hostile.faults import End, Work, command, run

from leansight.runtime.system.parent import end_with

_SSH: Final = Path(__file__).parents[1] / "programs" / "ssh_to_a_fork.py"
_NOBODY: Final = ""  # a machine that is asked only whether those before it have ended
_NAME: Final = "far-"  # how the files of a run begin that are about the far side


class FarSide:
    """A process that stands for other machines; their folders are in `folder`/work/far."""

    def __init__(self, folder: Path) -> None:
        """Start it, and put its `ssh` first on PATH."""
        self._folder = folder
        self._fault, self._trouble = folder / "far-fault.txt", folder / "far-trouble.txt"
        self._address = str(folder / "far.socket")
        start = shlex.join([sys.executable, "-SP", str(_SSH), self._address])
        ssh = executable(folder / "bin" / "ssh", f'exec {start} "$@"')
        os.environ["PATH"] = f"{ssh.parent}{os.pathsep}{os.environ['PATH']}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self._address)
        listener.listen()
        parent = os.getpid()
        if fork() == 0:
            while end_with(parent):
                self._serve(listener.accept()[0])
        listener.close()

    def run(self, work: Work, folder: Path, *, inject: str | None = None) -> End:
        """Do the work here, without a fault; the first machine that it reaches has the fault.

        The trace is that of the last machine.
        """
        if inject is not None:
            self._fault.write_text(inject)
        end = self.run_near(work, folder)
        self._fault.unlink(missing_ok=True)
        trace = (folder / f"{_NAME}calls.strace").read_text(errors="replace")
        return replace(end, trace=trace.splitlines())

    def run_near(self, work: Work, folder: Path, *, inject: str | None = None) -> End:
        """Do the work with a fault here, and wait for the machines that it has reached."""
        end = run(work, folder, inject=inject)
        with socket.socket(socket.AF_UNIX) as far:
            far.connect(self._address)
            far.sendall(json.dumps([_NOBODY, ""]).encode() + b"\n")
            assert far.recv(1)
        return end

    def trouble(self) -> str:
        """Return what a machine has said that is no line of an error, and forget it."""
        said = self._trouble.read_text() if self._trouble.exists() else ""
        self._trouble.unlink(missing_ok=True)
        return said

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            host, there = json.loads(_line(connection))
            answer = (0, "", "") if host == _NOBODY else self._end(connection, host, there)
            with suppress(OSError):  # its ssh was killed
                connection.shutdown(socket.SHUT_RD)
                connection.sendall(json.dumps(answer).encode())

    def _end(self, connection: socket.socket, host: str, there: str) -> tuple[int, str, str]:
        """Run a command on a machine; return its code and what it has written."""
        _, *options, _ = shlex.split(there)[:4]
        assert options == ["-P", "-c"], there
        fault = self._fault.read_text() if self._fault.exists() else None
        self._fault.unlink(missing_ok=True)
        home = self._folder / "work" / "far" / host
        with (self._folder / "far-out.txt").open("w+") as out:

            def work() -> None:
                os.chdir(home)
                os.dup2(connection.fileno(), 0)
                os.dup2(out.fileno(), 1)
                sys.stdin = os.fdopen(0, closefd=False)
                tempfile.tempdir = str(home / "tmp")
                command(*shlex.split(there)[4:])()

            end = run(work, self._folder, inject=fault, name=_NAME)
            out.seek(0)
            written = out.read()
        if not end.is_plain:
            self._trouble.write_text(f"{host} ended with {end.code}: {end.said[-500:]}")
        return (-1 if end.code is None else end.code), written, end.said


def _line(connection: socket.socket) -> bytes:
    """Return the first line, and nothing of what is behind it."""
    line = b""
    while not line.endswith(b"\n") and (byte := connection.recv(1)):
        line += byte
    return line
