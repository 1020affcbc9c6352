"""Run the benchmark's workers on another machine, over SSH.

The system's own `ssh` makes the one connection. At the other end runs `remote_worker`, which
removes everything when the connection closes (docs/decisions/0013).
"""

import itertools
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

from leansight.benchmarks.boards.carried import INSTALL_S, carrying_command, refusal_of
from leansight.benchmarks.boards.connection import Connection, EndlessError, SilentError
from leansight.benchmarks.machines import (
    Launch,
    Machine,
    RunningModel,
    ThisMachine,
    worker_arguments,
)
from leansight.benchmarks.models import Model
from leansight.benchmarks.probes.conditions import MachineFacts, MachineState, facts_from
from leansight.benchmarks.ssh import RemoteError, RemoteLog, RemotePython, kill
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError

_FAR_END: Final = "leansight.benchmarks.remote_worker"
_GOODBYE_S: Final = 15
_SILENCE_S: Final = 60.0  # of a machine that has nothing to do but to answer
_LONGEST_WELCOME: Final = 65_536  # bytes, of a shell's start-up files
_SHOWN: Final = 40  # characters of what is no answer
_MARGIN_S: Final = 30.0  # in which the far end itself says that a model hangs


@contextmanager
def machine_at(
    on: str | None, remote_python: str | None = None, carried: Path | None = None
) -> Iterator[Machine]:
    """Yield the machine `on` which to measure (see `RemoteMachine`), or this one for None.

    Raises:
        RemoteError: it cannot measure, or a Python is named without a machine.

    """
    if on is not None:
        python = remote_python or "python3"
        with RemoteMachine(on, remote_python=python, carried=carried) as machine:
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
        carried: a wheel of leansight that is brought along, for an interpreter that has none; it
            and its environment are removed at the end.

    Raises:
        RemoteError: on the way in or later; the message says what to type.

    """

    def __init__(
        self, on: str, *, remote_python: str = "python3", carried: Path | None = None
    ) -> None:
        self._there = RemotePython(on, remote_python)
        self._carried = carried
        self._numbers = itertools.count()
        self._silence_s = _SILENCE_S

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._log = RemoteLog()
            self._ssh = self._start()
            stack.callback(self._close)
            self._connection = Connection(self._ssh)
            self.facts, self.empty_bytes = self._greeting()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @property
    def on(self) -> str:
        """See `Machine`."""
        return self._there.on

    def abandon(self) -> None:
        """End the connection, from another thread: who waits for an answer gets a RemoteError."""
        self._ssh.terminate()

    def _start(self) -> "subprocess.Popen[bytes]":
        if self._carried is None:
            return self._there.start(["-m", _FAR_END], stdin=subprocess.PIPE, log=self._log)
        command = carrying_command(self._carried, self._there.python, _FAR_END)
        return self._there.start_command(command, stdin=subprocess.PIPE, log=self._log)

    def state(self) -> MachineState:
        """See `Machine`."""
        answer = self._ask({"state": True})
        try:
            return MachineState(**answer)
        except TypeError:
            raise self._strange(json.dumps(answer)) from None

    @contextmanager
    def bring(
        self, model: Model, pictures: Path, *, threads: int, hang_s: float, capture: str = ""
    ) -> Iterator[Launch]:
        """See `Machine`."""
        number = next(self._numbers)
        place = f"measured{model.path.suffix}"
        self._silence_s = max(hang_s, _SILENCE_S) + _MARGIN_S  # of the far end itself
        there = replace(model, path=Path(str(number), place))
        brought = [*_files(model.path, place), (pictures.name, pictures.read_bytes())]
        if (video := Path(capture)).is_file():
            brought.append((f"video{video.suffix}", video.read_bytes()))
            capture = str(Path(str(number), brought[-1][0]))
        arguments = worker_arguments(
            there, Path(str(number), pictures.name), threads=threads, capture=capture
        )
        start = {"start": number, "name": model.name, "arguments": arguments, "hang_s": hang_s}
        about = partial(self._ask_about, str(model.path), arguments[0])
        for name, data in brought:
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
        with suppress(RemoteError):  # a lost connection removes everything, and all is measured
            self._ask({"remove": number})

    def _close(self) -> None:
        """Let the other side remove everything, and wait until it has."""
        with suppress(subprocess.TimeoutExpired, OSError):
            self._ssh.communicate(timeout=_GOODBYE_S)
        kill(self._ssh)
        self._ssh.communicate()

    def _greeting(self) -> tuple[MachineFacts, dict[str, int | None]]:
        """Return what the machine is and what an empty process takes there."""
        timeout_s = _SILENCE_S
        if self._carried is not None:
            timeout_s = INSTALL_S
            with suppress(BrokenPipeError):  # the missing greeting says why
                self._send(self._carried.read_bytes())
        heard = 0
        while line := self._line(timeout_s):
            heard += len(line)
            if heard > _LONGEST_WELCOME:
                raise self._strange(line)
            with suppress(ValueError, RecursionError):  # a shell's start-up files may say more
                match json.loads(line):
                    case {"leansight": found, "machine": _, "empty_bytes": empty_bytes}:
                        self._check_version(found)
                        return self._facts(line), empty_bytes
        raise self._refusal(self._ssh.wait(), self._log.lines())

    def _facts(self, line: bytes) -> MachineFacts:
        try:
            return facts_from(json.loads(line)["facts"])
        except (KeyError, TypeError, AttributeError):
            raise self._strange(line) from None

    def _refusal(self, code: int, said: Sequence[str]) -> RemoteError:
        """Say why there is no greeting."""
        reason = refusal_of(code, said, self._there.python)
        return RemoteError(f"{self.on}: {reason}") if reason else self._there.refusal(code, said)

    def _send(self, data: bytes) -> None:
        try:
            self._connection.send(data, self._silence_s)
        except SilentError:
            raise self._silent(self._silence_s) from None

    def _line(self, timeout_s: float) -> bytes:
        try:
            return self._connection.line(timeout_s)
        except SilentError:
            raise self._silent(timeout_s) from None
        except EndlessError:
            raise self._strange("") from None

    def _strange(self, said: str | bytes) -> RemoteError:
        """Say that it lies, or has no end of words; the connection is of no use any more."""
        kill(self._ssh)
        text = said if isinstance(said, str) else said.decode(errors="replace")
        return RemoteError(f"{self.on} says what leansight does not say: {text.strip()[:_SHOWN]}")

    def _silent(self, timeout_s: float) -> RemoteError:
        kill(self._ssh)  # it would not hear a goodbye
        return RemoteError(
            f"{self.on} has been silent for {timeout_s:.0f} s: it hangs, or its network is gone"
        )

    def _check_version(self, found: str) -> None:
        if found != (ours := version("leansight")):
            raise RemoteError(
                f"{self._there.on} has leansight {found}, this machine {ours}: both must be the "
                f"same. {self._there.install_advice()}"
            )

    def _ask_about(
        self, path: str, there: str, request: Mapping[str, Any], data: bytes = b""
    ) -> dict[str, Any]:
        """Ask; an error speaks of the model as it is called here."""
        try:
            return self._ask(request, data)
        except BundleError as error:
            message = str(error).replace(there, path).replace("Type: ", "Type there: ")
            raise BundleError(f"{self._there.on}: {message}") from error

    def _ask(self, request: Mapping[str, Any], data: bytes = b"") -> dict[str, Any]:
        with suppress(BrokenPipeError):  # the missing answer says so
            self._send(json.dumps(request).encode() + b"\n" + data)
        line = self._line(self._silence_s)
        if not line:
            self._ssh.wait()
            last = self._log.lines()[-1]
            raise RemoteError(f"the connection to {self._there.on} was lost ({last}): try again")
        try:
            answer: object = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._strange(line)
        if "error" in answer:
            raise BundleError(str(answer["error"]))
        return answer


def _files(path: Path, place: str) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a model, and what they are called at `place`."""
    if not path.is_dir():
        yield place, path.read_bytes()
        return
    for name, data in Bundle.load(path).contents().items():
        yield f"{place}/{name}", data
