"""Python of another machine, started by the system's own `ssh`, and what it means when that fails.

A user's ~/.ssh/config, keys, agent and known hosts count as they do everywhere. The library for it,
asyncssh, has no permissive licence (EPL-2.0 or GPL-2.0).
"""

import shlex
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from typing import IO, Final

from leansight.runtime.errors import LeansightError

_OPTIONS: Final = (
    "BatchMode=yes",  # nobody is asked for a password: stdin is ours
    "ClearAllForwardings=yes",
    "ConnectTimeout=10",
    "LogLevel=ERROR",
    "ServerAliveInterval=15",  # a board that has lost its power is noticed within a minute
)
_SSH_FAILED: Final = 255
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
_LONGEST_LOG: Final = 65_536  # bytes that are read of what the other side says


class RemoteError(LeansightError):
    """Another machine is not reached, or is not ready to do what was asked."""


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
        self, words: Sequence[str], *, stdin: int | IO[bytes], log: IO[bytes]
    ) -> "subprocess.Popen[bytes]":
        """Start that Python with these arguments; stdout is a pipe, `log` takes standard error.

        Raises:
            RemoteError: ssh is not installed here.

        """
        # Quoted for the shell there. -P: no file in the home there may take the place of a module.
        return self.start_command(shlex.join([self.python, "-P", *words]), stdin=stdin, log=log)

    def start_command(
        self, there: str, *, stdin: int | IO[bytes], log: IO[bytes]
    ) -> "subprocess.Popen[bytes]":
        """Start what a shell there understands; see `start`."""
        options = [word for option in _OPTIONS for word in ("-o", option)]
        try:
            return subprocess.Popen(
                ["ssh", "-T", *options, "--", self.on, there],  # noqa: S607 -- the user's
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,  # Ctrl-C is for us: then we let the other side clean up
            )
        except FileNotFoundError as error:
            message = "ssh is not installed here. Type: sudo apt install openssh-client"
            raise RemoteError(message) from error

    def refusal(self, code: int, said: Sequence[str]) -> RemoteError:
        """Return the error that says why it did not start, and what to type.

        `code` is what ssh ended with, `said` are lines of its log, one at least.
        """
        text, host, python = "\n".join(said), self.on, self.python
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


def said_in(log: IO[bytes]) -> list[str]:
    """Return the lines in a log of what ssh and the other side have said, or one of ours."""
    log.seek(0)
    lines = log.read(_LONGEST_LOG).decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()] or ["nothing was said"]
