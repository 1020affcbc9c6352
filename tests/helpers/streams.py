"""Streams of numbered pictures: a server of motion JPEG."""

import contextlib
import http.server
import itertools
import threading
import time
from collections.abc import Callable
from typing import Self

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from leansight.runtime.errors import SourceError
from leansight.runtime.stream.camera_stream import CameraStream

Picture = NDArray[np.uint8]
Damage = Callable[[bytes], bytes]
BITS = 8


def numbered(number: int) -> Picture:
    """Return a picture of eight black and white blocks: its number in binary."""
    bits = [number >> bit & 1 for bit in range(BITS)]
    blocks = np.array([bits, bits[::-1]], np.uint8) * 255
    return cv2.cvtColor(blocks.repeat(16, 0).repeat(16, 1), cv2.COLOR_GRAY2BGR)


def number_of(picture: Picture) -> int:
    blocks = picture[8, 8::16, 1] > 127
    return int((blocks * 2 ** np.arange(BITS)).sum())


class MotionJpegServer:
    """Serves numbered pictures over loopback HTTP, one plan for each connection.

    A plan is the number of pictures until the connection is dropped (0 answers 503), or, where it
    is negative, until the server falls silent; the last plan repeats. Numbers go on from one
    connection to the next. `damage` changes the JPEG of each third one.
    """

    def __init__(self, *plans: float, delay_s: float = 0.01, damage: Damage = bytes) -> None:
        counter, remaining = itertools.count(), list(plans)
        self._closing = closing = threading.Event()

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                plan = remaining.pop(0) if len(remaining) > 1 else remaining[0]
                if not plan:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):  # the client may go away at any time
                    for _ in itertools.takewhile(lambda sent: sent < abs(plan), itertools.count()):
                        number = next(counter)
                        self.wfile.write(part(number, bytes if number % 3 else damage))
                        time.sleep(delay_s)
                    if plan < 0:
                        closing.wait()
                    self.wfile.write(b"--frame--\r\n")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/stream.mjpg"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def part(number: int, damage: Damage = bytes) -> bytes:
    ok, encoded = cv2.imencode(".jpg", numbered(number))
    assert ok
    jpeg = damage(encoded.tobytes())
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n"


def seen_until_lost(frames: CameraStream, message: str, pause_s: float) -> list[tuple[int, int]]:
    """Return the numbers of the frames and of their pictures, read with pauses."""
    seen = []

    def watch() -> None:
        for frame in frames:
            seen.append((frame.number, number_of(frame.image)))
            time.sleep(pause_s)

    with pytest.raises(SourceError, match=message):
        watch()
    return seen
