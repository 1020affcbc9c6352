"""A network camera over loopback that can do wrong whatever cameras have been seen to do."""

import contextlib
import http.server
import threading
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

FRAME_S = 0.05
_NOISE = 4.0  # of a sensor, in gray levels


class FaultyCamera:
    """Serves motion JPEG at `url`; `mode` says what goes wrong from now on.

    serving: nothing. silent: it accepts and sends nothing. closed: nobody listens. refusing: 503.
    frozen: the same picture. black, white, noise: what a covered, blinded, broken one gives.
    cut: every JPEG ends in its middle. flipped: ten bits of each second JPEG are flipped.
    other size: 320x240 in the place of 640x480.
    """

    def __init__(self, scene: NDArray[np.uint8]) -> None:
        self.mode = "serving"
        self._random = np.random.default_rng(0)
        self._noise = self._random.normal(0, _NOISE, (480, 640, 3))
        self._scene = cv2.resize(scene, (640, 480), interpolation=cv2.INTER_CUBIC)
        self._number = 0
        self._last = b""
        self._port = 0
        self._listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/stream.mjpg"

    def become(self, mode: str) -> None:
        """Change the mode; the port is closed and opened again with it."""
        if mode == "closed":
            self._server.shutdown()
            self._server.server_close()
        elif self.mode == "closed":
            self._listen()
        self.mode = mode

    def next_jpeg(self) -> bytes:
        """Return the next picture as it is in this mode."""
        self._number += 1
        if self.mode == "frozen":
            return self._last
        jpeg = _encode(self._picture())
        self._last = jpeg
        if self.mode == "cut":
            return jpeg[: len(jpeg) // 2]
        if self.mode == "flipped" and self._number % 2:
            return self._flipped(jpeg)
        return jpeg

    def _picture(self) -> NDArray[np.uint8]:
        match self.mode:
            case "black":
                scene = np.full((480, 640, 3), 3.0)
            case "white":
                scene = np.full((480, 640, 3), 254.0)
            case "noise":
                scene = np.full((480, 640, 3), 128) + 30 * self._noise
            case "other size":
                scene = cv2.resize(self._scene, (320, 240)).astype(float)
            case _:
                scene = np.roll(self._scene, self._number % 40, axis=1).astype(float)
        noise = np.roll(self._noise, int(self._random.integers(480)), axis=0)
        height, width = scene.shape[:2]
        return (scene + noise[:height, :width]).clip(0, 255).astype(np.uint8)

    def _flipped(self, jpeg: bytes) -> bytes:
        """Flip bits of the compressed pixels, which begin after the first kilobyte."""
        data = bytearray(jpeg)
        for place in self._random.integers(1000, len(data) - 2, 10):
            data[place] ^= 1 << int(self._random.integers(8))
        return bytes(data)

    def _listen(self) -> None:
        camera = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                while camera.mode == "silent":
                    time.sleep(0.01)
                if camera.mode == "refusing":
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):  # the client has gone
                    camera.send(self.wfile.write)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self._port), Answer)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def send(self, write: Callable[[bytes], object]) -> None:
        """Send pictures until the mode ends the connection."""
        while self.mode not in {"closed", "refusing"}:
            if self.mode != "silent":
                jpeg = self.next_jpeg()
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                write(b"--frame\r\n" + head.encode() + jpeg + b"\r\n")
            time.sleep(FRAME_S)


def _encode(picture: NDArray[np.uint8]) -> bytes:
    whole, encoded = cv2.imencode(".jpg", picture)
    assert whole
    return bytes(encoded)
