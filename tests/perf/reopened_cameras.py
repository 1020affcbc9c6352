"""Print what a program holds while its camera is lost and opened again, a thousand times.

    python tests/perf/reopened_cameras.py [--cycles 1000]

The camera raises, crashes (SIGSEGV), gives no more frames and gives a wrong one, in turns; the next
process starts at once. Exit code 1: more threads, more than one descriptor (a process that starts
has one) or more than 1 MB of resident memory than after the first tenth.
"""

import argparse
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from programs.cameras import camera, openings

from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.capture import supervisor

FATES = ("raises", "crashes", "is lost", "is gray")
_MEGABYTES = 1.0


def held() -> tuple[int, int, float]:
    """Return open descriptors, threads and resident megabytes of this process."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return descriptors, threading.active_count(), pages * 4096 / 1e6


def main() -> None:
    """Print a line each tenth of the openings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000)
    args = parser.parse_args()
    supervisor.START_INTERVALS_S = (0.0,)  # type: ignore[misc] -- a thousand in minutes
    folder = Path(tempfile.mkdtemp())
    lines: list[tuple[int, int, float]] = []
    with CameraStream(camera(folder, *FATES * (args.cycles // 4 + 1), frames=1)) as frames:
        for _ in frames:
            if (count := openings(folder)) >= args.cycles // 10 * (len(lines) + 1):
                lines.append(held())
                print(count, *lines[-1], flush=True)
            if count >= args.cycles:
                break
    growths = [last - first for first, last in zip(lines[0], lines[-1], strict=True)]
    sys.exit(int(growths[0] > 1 or growths[1] > 0 or growths[2] > _MEGABYTES))


if __name__ == "__main__":
    main()
