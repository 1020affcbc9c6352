"""Run `leansight stream` over motion JPEG from this machine itself; print what it said, as JSON.

    stream.py IMAGE... -- COMMAND...

COMMAND is `leansight stream BUNDLE --json`, with other options if need be. Each image is sent until
the stream has told of some frames; one line says what it told last, as `leansight classify --json`
does. Then the server sends a damaged picture, hangs up and comes back; at last the stream gets
SIGTERM. What is missing of this ends the program with exit code 1.

Run by scripts/check-pi, on the emulated Pi and beside it; compare.py compares.
"""

import contextlib
import http.server
import itertools
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import cv2

FRAMES = 4  # FFmpeg holds one back, and one is on its way when the picture changes
PAUSE_S = 0.1
TIMEOUT_S = 120.0  # an emulated processor takes its time
Line = dict[str, Any]


class Server:
    """Serves `jpegs` in turns, until `drop` is set; then it hangs up once."""

    def __init__(self, jpegs: Sequence[bytes]) -> None:
        self.jpegs = jpegs
        self.drop = threading.Event()
        server = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):  # the stream ends
                    for number in itertools.takewhile(
                        lambda _: not server.drop.is_set(), itertools.count()
                    ):
                        self.wfile.write(part(server.jpegs[number % len(server.jpegs)]))
                        time.sleep(PAUSE_S)
                server.drop.clear()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/stream.mjpg"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def part(jpeg: bytes) -> bytes:
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode() + jpeg + b"\r\n"


def read_jpegs(path: str) -> list[bytes]:
    """Return the image twice, with another corner: equal frames are a frozen camera."""
    image = cv2.imread(path)
    assert image is not None, f"{path} is no image"
    other = image.copy()
    other[:2, :2] ^= 16
    return [encode(image), encode(other)]


def encode(image: cv2.typing.MatLike) -> bytes:
    whole, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert whole
    return bytes(encoded)


class Stream:
    """The command at work, and the lines that it prints."""

    def __init__(self, command: Sequence[str], url: str) -> None:
        self._process = subprocess.Popen(
            [*command, "--source", url], stdout=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[Line] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def wait_for(self, what: str, is_wanted: Callable[[Line], bool]) -> Line:
        """Return the next line that is wanted."""
        deadline = time.monotonic() + TIMEOUT_S
        line: Line = {}
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(queue.Empty):
                line = self._lines.get(timeout=1)
                if is_wanted(line):
                    return line
        sys.exit(f"the stream did not tell {what}; its last line: {line}")

    def end(self) -> None:
        """Send SIGTERM and see that it ends soon."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            sys.exit("the stream did not end by SIGTERM")


def has_prediction(line: Line) -> bool:
    return "score" in line


def main(arguments: Sequence[str]) -> None:
    """Print a line for each image."""
    split = arguments.index("--")
    images, command = arguments[:split], arguments[split + 1 :]
    with Server(read_jpegs(images[0])) as server:
        stream = Stream(command, server.url)
        try:
            for image in images:
                server.jpegs = read_jpegs(image)
                for _ in range(FRAMES):
                    line = stream.wait_for("a prediction", has_prediction)
                answer = {name: line[name] for name in ("label", "score", "status")}
                sys.stdout.write(json.dumps({"path": image, **answer}) + "\n")
            whole, server.jpegs = server.jpegs, [jpeg[: len(jpeg) // 2] for jpeg in server.jpegs]
            stream.wait_for("a damaged frame or its lack", lambda line: line["state"] == "stale")
            server.jpegs = whole
            stream.wait_for("a prediction after damage", has_prediction)
            server.drop.set()
            stream.wait_for("the loss", lambda line: line["state"] == "reconnecting")
            line = stream.wait_for("a prediction after the loss", has_prediction)
            if not line["damaged"]:
                sys.exit("the damaged frames were not counted")
        finally:
            stream.end()


if __name__ == "__main__":
    main(sys.argv[1:])
