"""The parent's side of a child: starts it, hears what it tells, and ends it."""

import os
import pickle
import select
import signal
import socket
import subprocess
from contextlib import suppress
from typing import Final, NamedTuple

from leansight.runtime.extras import require
from leansight.runtime.stream.capture.frame_slot import FrameSlot
from leansight.runtime.stream.sources.spec import SourceSpec
from leansight.runtime.system.python_child import python_command
from leansight.runtime.system.shared_memory import new_memory
from leansight.runtime.system.standard_error import STANDARD_ERROR

# How long a killed process may take; one that hangs in the kernel (state D) takes for ever.
KILL_TIMEOUT_S: Final = 1.0
_LONGEST_MESSAGE: Final = 65536
_CAPTURE: Final = "leansight.runtime.stream.capture.child"


class Message(NamedTuple):
    """What the process has told: a word and its text (see child.py); "" at its end."""

    kind: str
    text: str


def pickled_job(spec: SourceSpec) -> bytes:
    """Return the job of a capture process.

    Raises:
        ValueError: `spec.open` holds what cannot be handed to another process.
        MissingExtraError: it was written in the script itself, or is a lambda, and cloudpickle is
            not installed.

    """
    try:
        data = pickle.dumps(spec)
        if b"__main__" not in data:
            return data
    except (pickle.PicklingError, AttributeError, TypeError):
        data = b""  # a lambda, or a class inside a function: it has no name in a module
    cloudpickle = require("cloudpickle", package="cloudpickle", extra="own-source")
    try:
        by_value: bytes = cloudpickle.dumps(spec)
    except (pickle.PicklingError, TypeError) as error:
        raise ValueError(
            f"{spec.name} is opened in a process of its own, and cannot be handed to it: {error}. "
            "Give a function that opens it"
        ) from error
    return by_value


class ChildProcess:
    """A process that reads frames, or classifies them, and the slot of these frames.

    `module` holds its `main`, which gets the numbers of this process, of the channel's descriptor
    and of the slot's; the pickled job is its standard input. It gets a copy of `descriptor`, if
    there is one, under the same number.
    """

    def __init__(self, job: bytes, module: str = _CAPTURE, descriptor: int | None = None) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.slot = FrameSlot.create()
        try:
            with theirs:
                self._process = self._started(job, module, theirs.fileno(), descriptor)
        except OSError:
            self.close()
            raise

    def _started(
        self, job: bytes, module: str, channel: int, descriptor: int | None
    ) -> subprocess.Popen[bytes]:
        numbers = os.getpid(), channel, self.slot.descriptor
        with os.fdopen(new_memory("leansight-job"), "w+b") as pickled:
            pickled.write(job)
            pickled.seek(0)
            return subprocess.Popen(
                python_command(module, *numbers),
                stdin=pickled,
                stdout=STANDARD_ERROR,  # ours is for answers
                pass_fds=[*numbers[1:], *([] if descriptor is None else [descriptor])],
            )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, None after the timeout."""
        poll = select.poll()  # not select(2), which refuses descriptors from 1024 on
        poll.register(self._channel, select.POLLIN)
        if not poll.poll(None if timeout_s == float("inf") else max(timeout_s, 0) * 1000):
            return None
        try:
            data = self._channel.recv(_LONGEST_MESSAGE)
        except ConnectionResetError:  # it has ended, and a request was not read
            data = b""
        kind, _, text = data.decode(errors="replace").partition(" ")
        return Message(kind, text)

    def ask(self) -> None:
        """Ask for the next frame of a finite source, or for the answer to the one in the slot."""
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: `receive` tells
            self._channel.send(b"n")

    def hang_up(self) -> None:
        """Want no more frames: a process that is not hanging ends at its next one."""
        with suppress(OSError):  # it has ended already
            self._channel.shutdown(socket.SHUT_RDWR)

    def kill(self) -> bool:
        """End the process and return whether it has ended."""
        if self._process.poll() is None:
            self._process.kill()
        return self.wait(KILL_TIMEOUT_S)

    def wait(self, timeout_s: float) -> bool:
        """Return whether the process has ended after so many seconds at the most."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end_text(self) -> str:
        """Return how a process has ended that told nothing of it."""
        self.wait(KILL_TIMEOUT_S)
        code = self._process.returncode
        how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        return f"its process ended by itself: {how}"

    def close(self) -> None:
        """Let go of the channel and of the slot."""
        self._channel.close()
        self.slot.close()
