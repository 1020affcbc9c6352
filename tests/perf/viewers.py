"""Print what the viewers of the live page cost the stream: age of frames, rate, memory.

    python tests/perf/viewers.py signs.bundle [--seconds 10]

Thirty drawn frames of 640×480 a second come over loopback. Viewers are as many threads: some fetch
picture after picture, some take a byte a second, some never read what they have asked for.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import streams
from live.visitors import ask, never_reads

from leansight.runtime.service.metrics import Metrics
from leansight.runtime.service.web.address import Address
from leansight.runtime.service.web.page import WebPage
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.classified_stream import ClassifiedStream
from leansight.runtime.stream.isolated_classifier import IsolatedClassifier
from leansight.runtime.stream.jpeg import encode_jpeg

FRAME_S = 1 / 30
ANYWHERE = Address(host="127.0.0.1", port=0)
Viewer = Callable[[str, threading.Event], None]


def picture(number: int) -> streams.Picture:
    """Return soft shades of 640×480."""
    rng = np.random.default_rng(number % 16)
    coarse = rng.integers(0, 256, (24, 32, 3), np.uint8)
    shades = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
    return np.asarray(shades, np.uint8)


def fetch(url: str, ended: threading.Event) -> None:
    """Fetch picture after picture, as the page does."""
    after = ""
    while not ended.is_set():
        answer = ask(url, f"/frame.jpg?after={after}")
        after = answer.headers.get("frame-number", after)


def dribble(url: str, ended: threading.Event) -> None:
    """Ask for pictures, and take a byte a second."""
    with never_reads(url, "/frame.jpg", requests=100) as visitor:
        while not ended.wait(1):
            try:
                visitor.recv(1)
            except OSError:
                return


def hold(url: str, ended: threading.Event) -> None:
    """Ask for pictures, and never read."""
    with never_reads(url, "/frame.jpg", requests=100):
        ended.wait()


@contextmanager
def viewers(url: str, kind: Viewer | None, count: int) -> Iterator[None]:
    ended = threading.Event()
    threads = [threading.Thread(target=kind, args=(url, ended)) for _ in range(count) if kind]
    for thread in threads:
        thread.start()
    yield
    ended.set()
    for thread in threads:
        thread.join()


def measure(results: ClassifiedStream, outputs: list[WebPage | Metrics], seconds: float) -> str:
    """Run the stream for a while, and return a row of the table."""
    ages, writes, begin_s = [], [], time.monotonic()
    for result in results:
        now_s = time.perf_counter()
        for output in outputs:
            output.write(result)
        writes.append((time.perf_counter() - now_s) * 1e6)
        if result.age_ms is not None:
            ages.append(result.age_ms)
        if time.monotonic() - begin_s > seconds:
            break
    p99 = quantiles(ages, n=100)[-1]
    rate = len(ages) / (time.monotonic() - begin_s)
    return (
        f"{rate:5.1f} frames/s, age {median(ages):5.1f} ms (99 %: {p99:5.1f}), write "
        f"{median(writes):4.0f} µs, resident {resident_mb():.0f} MB"
    )


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def closing_ms(page: WebPage) -> float:
    begin_s = time.perf_counter()
    page.close()
    return (time.perf_counter() - begin_s) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    made = [picture(number) for number in range(16)]
    streams.numbered = lambda number: made[number % 16]  # what the server sends
    begin_s = time.perf_counter()
    size = [len(encode_jpeg(image)) for image in made]
    print(f"a JPEG: {(time.perf_counter() - begin_s) / 16 * 1000:.1f} ms, {median(size):,} bytes")
    with (
        streams.MotionJpegServer(10**9, delay_s=FRAME_S) as server,
        IsolatedClassifier([options.bundle]) as classifier,
        CameraStream(server.url) as frames,
    ):
        results = ClassifiedStream(frames, classifier)
        page, metrics = WebPage(ANYWHERE, name="signs"), Metrics(ANYWHERE)
        measure(results, [], 3)
        print(f"{'no page':24} {measure(results, [], options.seconds)}")
        for name, kind, count in (
            ("nobody looks", None, 0),
            ("1 viewer", fetch, 1),
            ("10 viewers", fetch, 10),
            ("10 take a byte a second", dribble, 10),
            ("10 never read", hold, 10),
            ("60 never read", hold, 60),
        ):
            with viewers(page.url, kind, count):
                print(f"{name:24} {measure(results, [page, metrics], options.seconds)}")
        with viewers(page.url, hold, 10):
            time.sleep(1)
            print(f"closed with 10 that never read: {closing_ms(page):.0f} ms")
        metrics.close()


if __name__ == "__main__":
    main()
