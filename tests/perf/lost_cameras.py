"""Print how soon a lost network camera is noticed, and how soon it gives a frame after its return.

    python tests/perf/lost_cameras.py [--away 30] [--rounds 3]

A server of motion JPEG over loopback goes away in three ways: it falls silent and answers nobody,
it closes its connections and its port, it answers 503. A frame is due every 50 ms.
"""

import argparse
import http.server
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from streams import part

from leansight.runtime.stream.camera_stream import CameraStream

FRAME_S = 0.05


class Server:
    """A server whose `mode` can be changed: serving, silent, closed, refusing."""

    def __init__(self) -> None:
        self.mode = "serving"
        self.port = 0
        self._start()

    def _start(self) -> None:
        outer = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                while outer.mode == "silent":
                    time.sleep(0.01)
                if outer.mode != "serving":
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                try:
                    while outer.mode in {"serving", "silent"}:
                        if outer.mode == "serving":
                            self.wfile.write(part(1))
                        time.sleep(FRAME_S)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Answer)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def become(self, mode: str) -> None:
        """Change the mode; the port is closed and opened again with it."""
        if mode == "closed":
            self._server.shutdown()
            self._server.server_close()
        elif self.mode == "closed":
            self._start()
        self.mode = mode


def lose(server: Server, frames: CameraStream, newest: list[float], way: str, away_s: float) -> str:
    """Let the server go away and come back; return how long noticing and the return took."""
    time.sleep(2)
    server.become(way)
    gone_at = time.monotonic()
    while frames.health.state == "running":
        time.sleep(0.001)
    noticed_s = time.monotonic() - gone_at
    time.sleep(away_s)
    server.become("serving")
    back_at = time.monotonic()
    while newest[0] < back_at:
        time.sleep(0.001)
    back_s = newest[0] - back_at
    return f"{way}: noticed after {noticed_s:.2f} s, a frame {back_s:.2f} s after the return"


def main() -> None:
    """Print a line for each loss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--away", type=float, default=30, help="seconds until the server is back")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    server = Server()
    newest = [0.0]

    def take(frames: CameraStream) -> None:
        for frame in frames:
            newest[0] = frame.monotonic_s

    with CameraStream(f"http://127.0.0.1:{server.port}/stream.mjpg") as frames:
        threading.Thread(target=take, args=[frames], daemon=True).start()
        while frames.health.state != "running":
            time.sleep(0.01)
        for number in range(args.rounds):
            for way in ("silent", "closed", "refusing"):
                print(lose(server, frames, newest, way, args.away + 0.7 * number), flush=True)


if __name__ == "__main__":
    main()
