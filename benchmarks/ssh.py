"""Python of another machine, started by the system's own `ssh`, and what it means when that fails.

A user's ~/.ssh/config, keys, agent and known hosts count as they do everywhere. The library for it,
asyncssh, has no permissive licence (EPL-2.0 or GPL-2.0).
"""

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from io import BufferedReader
from typing import IO, Final

from leansight.runtime.errors import LeansightError

_OPTIONS: Final = (
    "BatchMode=yes",  # nobody is asked for a password: stdin is ours
    "ClearAllForwardings=yes",
    "ConnectTimeout=10",
    "LogLevel=ERROR",
    "ServerAliveInterval=15",  # a board that has lost its power is noticed within a minute
)
_SSH_FAILED: Final = 255  # also: what it started there was killed
_NOTHING: Final = "nothing was said"
_NO_PROGRAM: Final = (126, 127)  # a shell's: cannot be executed, not found
# What ssh says, and what to do about it.
_ADVICE: Final = {
    "IDENTIFICATION HAS CHANGED": (
        " shows another host key than it used to. If it was set up anew, type: ssh {host}, "
        "and do as it says"
    ),
    "Host key verification failed": (
        " is not known here yet. Type: ssh {host}, and compare the key that it shows"
    ),
    "Permission denied": " accepts no key of this machine. Type: ssh-copy-id {host}",
}
# What ssh says where it was connected.
_LOST: Final = ("client_loop: ", "closed by remote host", "not responding", "Read from remote host")
_LONGEST_LOG: Final = 65_536  # bytes that are kept of what the other side says
_LAST_WORDS_S: Final = 1.0  # a connection that ssh keeps for others may hold the pipe for ever


class RemoteError(LeansightError):
    """Another machine is not reached, or is not ready to do what was asked."""


class RemoteLog:
    """What ssh and the other side say on standard error: the beginning, for it may have no end."""

    def __init__(self) -> None:
        """Nothing has been said."""
        self._said = b""
        self._reader: threading.Thread | None = None

    def follow(self, stream: BufferedReader) -> None:
        """Read a pipe to its end, in a thread."""
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def lines(self) -> list[str]:
        """Return what was said until ssh ended, or a line that nothing was."""
        if self._reader is not None:
            self._reader.join(_LAST_WORDS_S)
        lines = self._said.decode(errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()] or [_NOTHING]

    def _read(self, stream: BufferedReader) -> None:
        with stream:
            while data := stream.read1():
                self._said += data[: _LONGEST_LOG - len(self._said)]


class RemotePython:
    """A Python of another machine.

    Args:
        on: what `ssh` takes: user@host, a name in ~/.ssh/config, ssh://user@host:port.
        python: the interpreter there that has leansight, relative to the user's home.

    Raises:
        RemoteError: `on` is no name of a machine.

    """

    def __init__(self, on: str, python: str) -> None:
        if not on or on.startswith("-"):
            raise RemoteError(
                f"{on!r} is no machine: name one such as pi@raspberrypi.local", parameter="on"
            )
        self.on, self.python = on, python.removeprefix("~/")

    def start(
        self, words: Sequence[str], *, stdin: int | IO[bytes], log: RemoteLog
    ) -> "subprocess.Popen[bytes]":
        """Start that Python with these arguments; stdout is a pipe, `log` takes standard error.

        Raises:
            RemoteError: ssh is not installed here.

        """
        # Quoted for the shell there. -P: no file in the home there may take the place of a module.
        return self.start_command(shlex.join([self.python, "-P", *words]), stdin=stdin, log=log)

    def start_command(
        self, there: str, *, stdin: int | IO[bytes], log: RemoteLog
    ) -> "subprocess.Popen[bytes]":
        """Start what a shell there understands; see `start`."""
        options = [word for option in _OPTIONS for word in ("-o", option)]
        try:
            process = subprocess.Popen(
                ["ssh", "-T", *options, "--", self.on, there],  # noqa: S607 -- the user's
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for us: then we let the other side clean up
            )
        except FileNotFoundError as error:
            message = "ssh is not installed here. Type: sudo apt install openssh-client"
            raise RemoteError(message) from error
        assert isinstance(process.stderr, BufferedReader)
        log.follow(process.stderr)
        process.stderr = None  # `communicate` would read it too
        return process

    def refusal(self, code: int, said: Sequence[str]) -> RemoteError:
        """Return the error that says why it did not start, and what to type.

        `code` is what ssh ended with, `said` are lines of its log, one at least.
        """
        text, host, python = "\n".join(said), self.on, self.python
        if code == _SSH_FAILED and text == _NOTHING:
            reason = f"{python} on {host} was killed: is there enough memory?"
            return RemoteError(reason)
        if code == _SSH_FAILED and any(sign in text for sign in _LOST):
            return RemoteError(f"the connection to {host} was lost ({said[-1]}): try again")
        if code == _SSH_FAILED:
            found = (advice for sign, advice in _ADVICE.items() if sign in text)
            advice = next(found, f" is not reached: {said[-1]}").format(host=host)
            return RemoteError(host + advice, parameter="on")
        if code in _NO_PROGRAM:
            reason = f"there is no {python} on {host}: name another, such as venv/bin/python"
        elif "option: -P" in text or "option -P" in text:
            reason = f"{python} on {host} is older than Python 3.11: name another"
        elif "No module named" in text and "leansight" in text:
            reason = f"{host} has no leansight {version('leansight')} for {python}. "
            reason += self.install_advice()
        else:
            reason = f"{python} on {host} ended with code {code}: {said[-1]}"
        return RemoteError(reason, parameter="remote_python")

    def install_advice(self) -> str:
        """Return the line that brings this leansight there."""
        package = f"'leansight[pi]=={version('leansight')}'"
        if "/" in self.python:
            return f"Type there: {self.python} -m pip install {package}"
        return (  # a system's own Python takes no packages from pip
            f"Type there: {self.python} -m venv venv && venv/bin/pip install {package}; "
            "and name venv/bin/python here"
        )


def kill(ssh: "subprocess.Popen[bytes]") -> None:
    """Kill an ssh that nobody has waited for, and what it has started: that would hold its pipes.

    A ProxyCommand is one such.
    """
    with suppress(ProcessLookupError):
        os.killpg(ssh.pid, signal.SIGKILL)
