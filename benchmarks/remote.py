"""Run the benchmark's workers on another machine, over SSH.

The system's own `ssh` makes the one connection, so that a user's ~/.ssh/config, keys, agent and
known hosts count as they do everywhere. The library for it, asyncssh, has no permissive licence
(EPL-2.0 or GPL-2.0). At the other end runs `remote_worker`, which removes
everything when the connection closes (docs/decisions/0013).
"""

import itertools
import json
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final, Self

from leansight.benchmarks.machines import Launch, Machine, RunningModel, ThisMachine
from leansight.benchmarks.models import Model
from leansight.benchmarks.probes.conditions import MachineFacts, MachineState, facts_from
from leansight.runtime.bundle import MANIFEST, Bundle
from leansight.runtime.errors import BundleError, LeansightError

_OPTIONS: Final = (
    "BatchMode=yes",  # nobody is asked for a password: stdin is ours
    "ClearAllForwardings=yes",
    "ConnectTimeout=10",
    "LogLevel=ERROR",
    "ServerAliveInterval=15",  # a board that has lost its power is noticed within a minute
)
_GOODBYE_S: Final = 15
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


class RemoteError(LeansightError):
    """Another machine is not reached, or is not ready to measure."""


@contextmanager
def machine_at(on: str | None, remote_python: str | None = None) -> Iterator[Machine]:
    """Yield the machine `on` which to measure (see `RemoteMachine`), or this one for None.

    Raises:
        RemoteError: it cannot measure, or a Python is named without a machine.

    """
    if on is not None:
        with RemoteMachine(on, remote_python=remote_python or "python3") as machine:
            yield machine
    elif remote_python is not None:
        raise RemoteError(
            f"{remote_python} is the Python of another machine: name the machine, such as "
            "pi@raspberrypi.local",
            parameter="on",
        )
    else:
        yield ThisMachine()


class RemoteMachine:
    """A `Machine` that is reached by SSH, inside a `with`.

    Args:
        on: what `ssh` takes: user@host, a name in ~/.ssh/config, ssh://user@host:port.
        remote_python: the interpreter there that has leansight, relative to the user's home.

    Raises:
        RemoteError: on the way in or later; the message says what to type.

    """

    def __init__(self, on: str, *, remote_python: str = "python3") -> None:
        if not on or on.startswith("-"):
            raise RemoteError(
                f"{on!r} is no machine: name one such as pi@raspberrypi.local", parameter="on"
            )
        self._destination, self._python = on, remote_python.removeprefix("~/")
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._log: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            self._ssh = self._connect()
            stack.callback(self._close)
            self.facts, self.empty_bytes = self._greeting()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def state(self) -> MachineState:
        """See `Machine`."""
        return MachineState(**self._ask({"state": True}))

    @contextmanager
    def bring(
        self, model: Model, pictures: Path, *, threads: int, hang_s: float
    ) -> Iterator[Launch]:
        """See `Machine`."""
        number = next(self._numbers)
        place = f"measured{model.path.suffix}"
        arguments = [f"{number}/{place}", model.format, str(threads), f"{number}/{pictures.name}"]
        start = {"start": number, "name": model.name, "arguments": arguments, "hang_s": hang_s}
        about = partial(self._ask_about, str(model.path), arguments[0])
        for name, data in [*_files(model.path, place), (pictures.name, pictures.read_bytes())]:
            about({"file": name, "of": number, "size": len(data)}, data)

        @contextmanager
        def launch() -> Iterator[RunningModel]:
            try:
                yield RunningModel(
                    start=about(start),
                    ask=lambda request: about({"ask": number, "request": request}),
                )
            except BundleError:
                self._ask({"stop": number})
                raise
            self._ask({"stop": number})

        yield launch
        self._ask({"remove": number})

    def _connect(self) -> "subprocess.Popen[bytes]":
        # Quoted for the shell there. -P: no file in the home there may take the place of a module.
        there = shlex.join([self._python, "-P", "-m", "leansight.benchmarks.remote_worker"])
        options = [word for option in _OPTIONS for word in ("-o", option)]
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                ["ssh", "-T", *options, "--", self._destination, there],  # noqa: S607 -- the user's
                stdin=pipe,
                stdout=pipe,
                stderr=self._log,
                process_group=0,  # Ctrl-C is for us: then we let the other side clean up
            )
        except FileNotFoundError as error:
            message = "ssh is not installed here. Type: sudo apt install openssh-client"
            raise RemoteError(message) from error

    def _close(self) -> None:
        """Let the other side remove everything, and wait until it has."""
        with suppress(subprocess.TimeoutExpired, BrokenPipeError):
            self._ssh.communicate(timeout=_GOODBYE_S)
        self._ssh.kill()
        self._ssh.communicate()

    def _greeting(self) -> tuple[MachineFacts, int | None]:
        """Return what the machine is and what an empty process takes there."""
        assert self._ssh.stdout is not None
        for line in self._ssh.stdout:
            with suppress(ValueError):  # what the shell's start-up files say is none of ours
                match json.loads(line):
                    case {"leansight": found, "machine": _, "empty_bytes": empty_bytes}:
                        self._check_version(found)
                        return facts_from(json.loads(line)["facts"]), empty_bytes
        raise self._refusal()

    def _check_version(self, found: str) -> None:
        if found != (ours := version("leansight")):
            raise RemoteError(
                f"{self._destination} has leansight {found}, this machine {ours}: both must be the "
                f"same. {self._install()}"
            )

    def _ask_about(
        self, path: str, there: str, request: Mapping[str, Any], data: bytes = b""
    ) -> dict[str, Any]:
        """Ask; an error speaks of the model as it is called here."""
        try:
            return self._ask(request, data)
        except BundleError as error:
            message = str(error).replace(there, path).replace("Type: ", "Type there: ")
            raise BundleError(f"{self._destination}: {message}") from error

    def _ask(self, request: Mapping[str, Any], data: bytes = b"") -> dict[str, Any]:
        stdin, stdout = self._ssh.stdin, self._ssh.stdout
        assert stdin is not None
        assert stdout is not None
        with suppress(BrokenPipeError):  # the missing answer says so
            stdin.write(json.dumps(request).encode() + b"\n" + data)
            stdin.flush()
        line = stdout.readline()
        if not line:
            self._ssh.wait()
            raise RemoteError(f"the connection to {self._destination} was lost: {self._said()[-1]}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BundleError(answer["error"])
        return answer

    def _said(self) -> list[str]:
        """Return the lines that ssh and the other side have put on stderr, or one of ours."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()] or ["nothing was said"]

    def _refusal(self) -> RemoteError:
        """Return the error that says why there was no greeting, and what to type."""
        code, said = self._ssh.wait(), self._said()
        text, host, python = "\n".join(said), self._destination, self._python
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
            reason += self._install()
        else:
            reason = f"{python} on {host} ended with code {code}: {said[-1]}"
        return RemoteError(reason, parameter="remote_python")

    def _install(self) -> str:
        """Return the line that brings this leansight there."""
        package = f"'leansight[pi]=={version('leansight')}'"
        if "/" in self._python:
            return f"Type there: {self._python} -m pip install {package}"
        return (  # a system's own Python takes no packages from pip
            f"Type there: {self._python} -m venv venv && venv/bin/pip install {package}; "
            "and name venv/bin/python here"
        )


def _files(path: Path, place: str) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a model, and what they are called at `place`."""
    if not path.is_dir():
        yield place, path.read_bytes()
        return
    for name in (MANIFEST, *Bundle.load(path).files):
        yield f"{place}/{name}", (path / name).read_bytes()
