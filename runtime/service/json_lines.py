"""Results as JSON, one object a line."""

import json
import select
import sys
from collections.abc import Callable
from dataclasses import asdict
from io import UnsupportedOperation
from typing import Any, Final

from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.events import Event

_POLL_MS: Final = 100


class JsonLines:
    """Writes each result to standard output as one line of JSON.

    A reader that has gone ends the program: BrokenPipeError. One that is slow is waited for while
    `waits()` is true, as for a file; otherwise, as for a camera, what it cannot take is left out.
    """

    def __init__(self, waits: Callable[[], bool]) -> None:
        self.trouble = ""
        self._waits = waits
        self._poll = select.poll()
        try:
            self._poll.register(sys.stdout.fileno(), select.POLLOUT)
            self._can_wait = True
        except UnsupportedOperation:  # a text in memory
            self._can_wait = False

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        if self._is_ready():
            sys.stdout.write(to_line(result))
            sys.stdout.flush()
            self.trouble = ""
        else:
            self.trouble = "the reader of standard output is too slow: lines are left out"

    def close(self) -> None:
        """See `Output`."""

    def _is_ready(self) -> bool:
        """Return whether a line can be written: a pipe is ready when it has room for 4096 bytes."""
        if not self._can_wait or self._poll.poll(0):
            return True
        while self._waits():
            if self._poll.poll(_POLL_MS):
                return True
        return False


def to_line(result: StreamResult) -> str:
    """Return a result as one line of JSON, with the line's end."""
    return json.dumps(to_json(result)) + "\n"


def to_json(result: StreamResult) -> dict[str, Any]:
    """Return a result as plain JSON values; what there is none of is left out."""
    values: dict[str, Any] = {
        "state": result.health.state,
        "time": result.time_s,
        "monotonic": result.monotonic_s,
        "damaged": result.damaged,
    }
    if result.health.reason:
        values["reason"] = result.health.reason
    if result.frame is not None:
        values["frame"] = result.frame.number
        if result.frame.position_s is not None:
            values["position"] = round(result.frame.position_s, 3)
    if result.age_ms is not None:
        values["age_ms"] = round(result.age_ms, 2)
    if result.inference_ms is not None:
        values["inference_ms"] = round(result.inference_ms, 2)
    if result.prediction is not None:
        values |= result.prediction.to_dict()
    if result.events:
        values["events"] = [event_to_json(event) for event in result.events]
    if result.drift is not None and result.drift.warnings:
        values["drift"] = asdict(result.drift)
    return values


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event as plain JSON values; `end` is None while it lasts."""
    return {
        "number": event.number,
        "label": event.label,
        "start": event.start_s,
        "end": event.end_s,
        "score": round(event.score, 6),
        "frames": event.frames,
    }
