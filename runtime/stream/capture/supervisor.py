"""Keeps a capture process at work: notices that frames stop, ends it, and starts another one."""

import json
import logging
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from leansight.runtime.errors import (
    BrokenPackageError,
    MissingExtraError,
    SourceError,
    SourceOptionError,
)
from leansight.runtime.stream.capture.health import Health, OnState, State
from leansight.runtime.stream.capture.newest_frame import NewestFrame
from leansight.runtime.stream.capture.process import ChildProcess, Message, pickled_job
from leansight.runtime.stream.sources.spec import SourceSpec

# How long a process may take to begin, or to say that it tries again; a slow Pi imports for long.
START_TIMEOUT_S: Final = 60.0
# How long an opening may take until the first frame: of a source that was never open, and of one
# that was, twice its longest opening, but at least the second value.
FIRST_OPENING_S: Final = 10.0
LEAST_OPENING_S: Final = 3.0
# From the start of a process to that of the next one, at least; the last value repeats.
START_INTERVALS_S: Final = (0.1, 0.5, 1.0, 2.0, 4.0)
# A source that has given frames for so long is back: intervals and giving up begin anew.
STEADY_S: Final = 1.0
# How long a process that still gives frames may take to release its source.
RELEASE_S: Final = 0.5
CLOSE_TIMEOUT_S: Final = 2.0
_NEWS: Final = 100  # changes of state that nobody has asked for are kept, the newest of them


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a source may be silent, and how long a lost one is tried again, in seconds."""

    stale_after_s: float
    give_up_after_s: float


class Supervisor:
    """A thread that has a source read by one process after the other, until it is closed."""

    def __init__(
        self,
        spec: SourceSpec,
        patience: Patience,
        on_state: OnState | None,
        on_notice: Callable[[str], None] | None,
    ) -> None:
        self._job = pickled_job(spec)
        self.newest = NewestFrame(patience.stale_after_s)
        self.health = Health(state="reconnecting", reason=f"{spec.name} is being opened")
        self.news = deque([self.health], maxlen=_NEWS)
        self.damaged = 0
        self._name = spec.name
        self._descriptor = spec.descriptor
        self._patience = patience
        self._on_state = on_state
        self._on_notice = on_notice or logging.getLogger(__name__).warning
        self._stopping = threading.Event()
        self._longest_opening_s: float | None = None
        # Of the loss: when it was noticed, and how many processes have failed since.
        self._lost_at: float | None = None
        self._failures = 0
        self._reopen_reason = ""
        # Of the process at work.
        self._opening_at = 0.0
        self._first_frame_at: float | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="leansight capture")
        self._thread.start()

    def reopen(self, reason: str) -> None:
        """Have another process open the source, although frames come; the reason is for people."""
        if self._can_reopen():
            self._reopen_reason = reason
            self.newest.hang_up()

    def close(self) -> None:
        """End the process and the thread; a second call does nothing."""
        self._stopping.set()
        self.newest.hang_up()
        if threading.current_thread() is not self._thread:  # as it is in `on_state`
            self._thread.join(CLOSE_TIMEOUT_S)
            if not self._thread.is_alive():
                self.newest.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _run(self) -> None:
        # Processes inherit this: Ctrl-C and systemd reach all of them, and we end ours in order.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        error = None
        try:
            while (reason := self._run_process()) is not None:
                self._lose(reason)
                self._wait_for_the_next_start()
        except Exception as raised:  # noqa: BLE001 -- raised again where the frames are taken
            error = raised
        self.newest.end(error)
        if self._stopping.is_set():
            self.newest.close()

    def _run_process(self) -> str | None:
        """Return why the process has to be replaced, None when the stream ends."""
        self._started_at = time.monotonic()
        self._first_frame_at = None
        if self._stopping.is_set():
            return None
        try:
            process = ChildProcess(self._job, descriptor=self._descriptor)
        except OSError as error:  # no memory, or too many processes
            return f"no process can be started: {error}"
        self.newest.attach(process)
        try:
            return None if self._stopping.is_set() else self._watch(process)
        finally:
            self._end(process)

    def _watch(self, process: ChildProcess) -> str | None:
        """Follow what the process tells; return why it failed, None when the stream ends."""
        limit_at = self._started_at + START_TIMEOUT_S
        while True:
            message = process.receive(min(limit_at, self._give_up_at()) - time.monotonic())
            if self._stopping.is_set():
                return None
            if self._reopen_reason:
                reason, self._reopen_reason = self._reopen_reason, ""
                return reason
            if message is None and not self._can_reopen():
                self._tell("stale", self._lateness())
                limit_at = math.inf
            elif message is None:
                self._raise_if_given_up()
                return self._lateness()
            elif message.kind == "damaged":
                self.damaged += 1  # the limit stays: damaged frames are none
            elif message.kind == "notice":
                self._on_notice(message.text)
            elif (limit_s := self._hear(message)) is not None:
                limit_at = time.monotonic() + limit_s
            else:
                return _reason_of_the_end(process, message)

    def _can_reopen(self) -> bool:
        """Return whether another process could go on: not with a file, nor with what is open."""
        return not self.newest.is_finite and self._descriptor is None

    def _hear(self, message: Message) -> float | None:
        """Return within how many seconds the next message has to come; None: it was the last."""
        match message:
            case Message("opening"):
                self._opening_at = time.monotonic()
                return self._opening_limit_s()
            case Message("away", reason):
                self._lose(reason)
                return START_TIMEOUT_S
            case Message("finite"):
                self.newest.is_finite = True
                return math.inf
            case Message("reading"):
                return self._opening_limit_s() if self._first_frame_at is None else self._stale_s()
            case Message("frame", number):
                self._arrived(int(number), time.monotonic())
                return math.inf if self.newest.is_finite else self._stale_s()
        return None

    def _arrived(self, number: int, now: float) -> None:
        if self._first_frame_at is None:
            self._first_frame_at = now
            opening_s = now - self._opening_at
            self._longest_opening_s = max(self._longest_opening_s or 0, opening_s)
        elif now - self._first_frame_at >= STEADY_S:
            self._lost_at = None
            self._failures = 0
        self._tell("running", "")
        self.newest.arrived(number)

    def _lateness(self) -> str:
        """Say that a limit of time has passed."""
        if self._first_frame_at is None:
            return "it did not open in time"
        reason = f"no frame for {self._stale_s():g} s"
        self._tell("stale", reason)
        return reason

    def _stale_s(self) -> float:
        return self._patience.stale_after_s

    def _opening_limit_s(self) -> float:
        if self._longest_opening_s is None:
            return FIRST_OPENING_S
        return max(LEAST_OPENING_S, 2 * self._longest_opening_s)

    def _give_up_at(self) -> float:
        """Return when the source is lost for good; never while it gives frames."""
        if self._lost_at is None or self._first_frame_at is not None:
            return math.inf
        return self._lost_at + self._patience.give_up_after_s

    def _end(self, process: ChildProcess) -> None:
        """End the process; wait for one that hangs in the kernel, as it keeps its device."""
        process.hang_up()
        if self.health.state == "running":
            process.wait(RELEASE_S)
        if process.kill() or self._stopping.is_set():
            return
        self._tell(
            "stale",
            f"the capture process {process.pid} cannot be ended: it hangs in the kernel, and only "
            "a restart of the machine may free its device",
            is_stuck=True,
        )
        self._lost_at = self._lost_at or time.monotonic()
        self._first_frame_at = None
        while not process.wait(0.1) and not self._stopping.is_set():
            self._raise_if_given_up()

    def _lose(self, reason: str) -> None:
        self._lost_at = self._lost_at or time.monotonic()
        self._tell("reconnecting", reason)

    def _wait_for_the_next_start(self) -> None:
        self._first_frame_at = None
        interval_s = START_INTERVALS_S[min(self._failures, len(START_INTERVALS_S) - 1)]
        self._failures += 1
        start_at = min(self._started_at + interval_s, self._give_up_at())
        self._stopping.wait(max(0, start_at - time.monotonic()))
        self._raise_if_given_up()

    def _raise_if_given_up(self) -> None:
        if time.monotonic() >= self._give_up_at():
            raise SourceError(f"{self._name} was lost and did not come back: {self.health.reason}")

    def _tell(self, state: State, reason: str, *, is_stuck: bool = False) -> None:
        health = Health(state=state, reason=reason, is_stuck=is_stuck)
        if health != self.health:
            self.health = health
            self.news.append(health)
            if self._on_state is not None:
                self._on_state(state, reason)


def _reason_of_the_end(process: ChildProcess, message: Message) -> str | None:
    """Return why a process has failed that has told its last message; None: the source has ended.

    Raises:
        SourceError, SourceOptionError, MissingExtraError, BrokenPackageError: no other process
            would do better.

    """
    match message:
        case Message("end"):
            return None
        case Message("failed", reason):
            return reason
        case Message("missing", remedy):
            raise MissingExtraError(*json.loads(remedy))
        case Message("broken", text):
            raise BrokenPackageError(text)
        case Message("option", text):
            raise SourceOptionError(text)
        case Message("hopeless", text):
            raise SourceError(text)
    return process.end_text()
