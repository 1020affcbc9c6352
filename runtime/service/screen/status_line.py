"""What a person sees who has not asked for JSON: one line that stays where it is."""

import shutil
from typing import Final, TextIO

from leansight.runtime.service.caption import caption, percent, printable
from leansight.runtime.service.frame_rate import FrameRate
from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.events import Event

_REFRESH_S: Final = 0.1
_ERASE: Final = "\r\x1b[K"


class StatusLine:
    """Tells label, score, state and frames a second.

    On a terminal that is one line, written again ten times a second at most. Anywhere else, such as
    in systemd's journal, a line is written when the state changes and when an event begins or ends.
    """

    trouble = ""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._on_terminal = file.isatty()
        self._frame_rate = FrameRate()
        self._state = ""
        self._line = ""
        self._next_s = 0.0

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        frames_per_second = self._frame_rate.add(result)
        is_new_state = result.health.state != self._state
        self._state = result.health.state
        if not self._on_terminal:
            self._write_changes(result, is_new_state=is_new_state)
        elif result.frame is not None or is_new_state:
            self._line = _whole_line(result, frames_per_second)
            if is_new_state or result.monotonic_s >= self._next_s:
                self._next_s = result.monotonic_s + _REFRESH_S
                self._replace()

    def close(self) -> None:
        """See `Output`."""
        if self._on_terminal and self._line:
            self._replace()
            self._file.write("\n")
            self._file.flush()

    def _write_changes(self, result: StreamResult, *, is_new_state: bool) -> None:
        state = ": ".join(filter(None, (result.health.state, result.health.reason)))
        lines = [state] if is_new_state else []
        lines += [_of_event(event) for event in result.events]
        self._file.writelines(f"{line}\n" for line in lines)
        self._file.flush()

    def _replace(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._file.write(_ERASE + self._line[:width])
        self._file.flush()


def _whole_line(result: StreamResult, frames_per_second: float) -> str:
    """Return such as "stop 98 %   running   24.9 frames/s"."""
    parts = [caption(result)]
    if result.prediction is not None:
        parts.append(result.health.state)
    if frames_per_second:
        parts.append(f"{frames_per_second:.1f} frames/s")
    return "   ".join(parts)


def _of_event(event: Event) -> str:
    """Return such as "stop begins", and "stop ends: 2.4 s, at best 98 %"."""
    label = printable(event.label)
    if event.end_s is None:
        return f"{label} begins"
    return f"{label} ends: {event.end_s - event.start_s:.1f} s, at best {percent(event.score)}"
