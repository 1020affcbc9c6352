"""What systemd is told of a stream: ready, alive, its state (sd_notify's protocol)."""

import os
import socket
from typing import Final, Self

from leansight.runtime.service.caption import caption
from leansight.runtime.service.frame_rate import FrameRate
from leansight.runtime.stream.capture.health import LABELLING
from leansight.runtime.stream.classified_stream import StreamResult

# While no camera is there no result is fresh, and a restart every half minute would help nobody:
# the watchdog waits as long as this, and then a restart is worth a try.
WITHOUT_FRAMES_S: Final = 3600
_STATUS_EVERY_S: Final = 5.0


class SystemdNotifier:
    """Tells systemd that the stream has begun, that it gives fresh results, and how it is.

    READY comes with the first result of any kind, also one that says that the camera is awaited:
    otherwise a missing camera would hold up the boot. WATCHDOG comes after a frame that went
    through the whole stream, never from a thread of its own.
    """

    trouble = ""

    def __init__(self, address: str, watchdog_s: float | None) -> None:
        """Tell the socket `address`; `watchdog_s`: how long systemd waits for a WATCHDOG."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(0)
        self._watchdog_s = watchdog_s
        self._has_frames = True
        self._frame_rate = FrameRate()
        self._is_ready = False
        self._status = ""
        self._next_ping_s = self._next_status_s = 0.0

    @classmethod
    def from_environment(cls) -> Self | None:
        """Return the notifier that systemd has asked for, None where it has not."""
        address = os.environ.get("NOTIFY_SOCKET")
        if not address:
            return None
        microseconds = os.environ.get("WATCHDOG_USEC")
        is_ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(address, int(microseconds) / 1e6 if microseconds and is_ours else None)

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        lines = [*self._ready(), *self._watchdog(result), *self._of_status(result)]
        if lines:
            self._send(lines)

    def close(self) -> None:
        """See `Output`."""
        self._send(["STOPPING=1"])
        self._socket.close()

    def _ready(self) -> list[str]:
        if self._is_ready:
            return []
        self._is_ready = True
        return ["READY=1"]

    def _watchdog(self, result: StreamResult) -> list[str]:
        """Ping after a frame, four times as often as asked; wait longer while there are none."""
        if self._watchdog_s is None:
            return []
        has_frames = result.frame is not None
        if has_frames != self._has_frames:
            self._has_frames = has_frames
            limit_s = self._watchdog_s if has_frames else WITHOUT_FRAMES_S
            return [f"WATCHDOG_USEC={round(limit_s * 1e6)}", "WATCHDOG=1"]
        if not has_frames or result.monotonic_s < self._next_ping_s:
            return []
        self._next_ping_s = result.monotonic_s + self._watchdog_s / 4
        return ["WATCHDOG=1"]

    def _of_status(self, result: StreamResult) -> list[str]:
        """Tell the state at once, and frames a second from time to time."""
        frames_per_second = self._frame_rate.add(result)
        fails = result.health.state in LABELLING and not result.gives_labels
        status = caption(result) if fails else result.health.state
        if status == self._status and result.monotonic_s < self._next_status_s:
            return []
        self._status, self._next_status_s = status, result.monotonic_s + _STATUS_EVERY_S
        if result.frame is None or fails:
            return [f"STATUS={caption(result)}"]
        return [f"STATUS={status}, {frames_per_second:.1f} frames/s"]

    def _send(self, lines: list[str]) -> None:
        """Send a datagram; systemd that does not listen now hears the next one."""
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
            self.trouble = ""
        except OSError as error:
            self.trouble = f"systemd does not listen at {self._address}: {error.strerror}"
