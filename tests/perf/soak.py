"""Run `leansight stream` for long, while everything around it fails; print what happened.

    python tests/perf/soak.py BUNDLE PICTURE [--minutes 30] [--work FOLDER]

PICTURE is what the camera shows: a photo of a class of BUNDLE. One fault follows the other, each
again and again: the camera is lost, hangs, freezes, is covered, sends damaged pictures or another
size; the clock jumps by an hour; processes are killed; a small disk is full; viewers of the page
stall, the MQTT broker goes away. Of each fault: how soon it was told, and how soon after its end
there was a prediction of a frame that was read after it. At the end: the age of all frames, and
memory, descriptors and threads after the first round of faults and after the last. Exit code 1:
something was not told, came not back, gave a label where none may be given, or grew.

Needs Linux, a C compiler, the extras jpeg, web and mqtt; root for the small disk and mosquitto for
the broker: without them these two are left out, and that is said.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from faulty_camera import FaultyCamera
from soak_world import World, compile_clock

LABELLING = {"running", "degraded"}
TIMEOUT_S = 60.0
AWAY_S = 3.0  # how long a fault lasts after it was told
Line = dict[str, Any]
IsWanted = Callable[[Line], bool]


@dataclass
class Trial:
    """What one kind of fault has cost, in seconds, and what went wrong."""

    told_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Stream:
    """The command at work: its lines as they come, and what all of them must hold."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            env=os.environ | environment,
            text=True,
        )
        self.log = log
        self.ages_ms: list[float] = []
        self.wrong: list[Line] = []
        self.count = 0
        self._lines: queue.Queue[Line] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for_trouble(self, output: str, *, over: bool) -> float:
        """Return how many seconds it took until an output's trouble was told, or its end."""
        begin = time.monotonic()
        while time.monotonic() < begin + TIMEOUT_S:
            told = [text for text in self.log.read_text().splitlines() if text.startswith(output)]
            if told and ("works again" in told[-1]) == over:
                return time.monotonic() - begin
            time.sleep(0.05)
        raise TimeoutError

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line: Line = json.loads(text)
            self.count += 1
            if "score" in line:
                self.ages_ms.append(line["age_ms"])
                if line["state"] not in LABELLING:
                    self.wrong.append(line)
            self._lines.put(line)

    def wait_for(self, is_wanted: IsWanted) -> float:
        """Return how many seconds it took until a line came that is wanted."""
        begin = time.monotonic()
        while time.monotonic() < begin + TIMEOUT_S:
            with contextlib.suppress(queue.Empty):
                if is_wanted(self._lines.get(timeout=1)):
                    return time.monotonic() - begin
            if self.process.poll() is not None:
                raise SystemExit(f"the stream has ended: see {self.log}")
        raise TimeoutError

    def forget(self) -> None:
        """Let go of the lines that have come."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._lines.get_nowait()

    def children(self) -> dict[str, int]:
        """Return the numbers of the child processes by what they do."""
        found = {}
        for task in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for pid in task.read_text().split():
                words = Path(f"/proc/{pid}/cmdline").read_text()
                found["model" if "inference_process" in words else "capture"] = int(pid)
        return found

    def cost(self) -> tuple[float, int, int]:
        """Return megabytes of its processes (PSS), descriptors and threads of the program."""
        pids = [self.process.pid, *self.children().values()]
        kilobytes = sum(_pss_kilobytes(pid) for pid in pids)
        folder = Path(f"/proc/{self.process.pid}")
        opened, threads = (len(list((folder / name).iterdir())) for name in ("fd", "task"))
        return kilobytes / 1000, opened, threads


def _pss_kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


class Soak:
    """All faults, one after the other; each is a method that yields while it lasts."""

    def __init__(self, stream: Stream, camera: FaultyCamera, world: World) -> None:
        self.trials: dict[str, Trial] = {}
        self._stream = stream
        self._camera = camera
        self._world = world
        self._hours = 0

    def run_all(self) -> None:
        """Have each fault once."""
        for mode, state in {
            "silent": "stale",
            "closed": "reconnecting",
            "refusing": "reconnecting",
            "frozen": "frozen",
            "black": "unusable",
            "white": "unusable",
            "noise": "unusable",
            "cut": "stale",
        }.items():
            self._try(mode, self._wrong_camera(mode), lambda line, s=state: line["state"] == s)
        damaged = self._damaged()
        self._try("flipped", self._wrong_camera("flipped"), lambda line: line["damaged"] > damaged)
        self._try("other size", self._wrong_camera("other size"), _has_prediction)
        self._try("clock", self._moved_clock(), _has_prediction)
        self._try("capture killed", self._killed("capture"), _is_in("reconnecting"))
        self._try("model killed", self._killed("model"), _is_in("degraded"))
        self._try("viewers stall", self._stalled_viewers(), _has_prediction)
        if self._world.disk:
            self._try_output("disk full", "JSON file", self._full_disk())
        if self._world.broker:
            self._try_output("broker gone", "MQTT", self._no_broker())

    def _try(
        self, name: str, fault: contextlib.AbstractContextManager[None], is_told: IsWanted
    ) -> None:
        trial = self.trials.setdefault(name, Trial())
        self._stream.wait_for(_has_prediction)
        self._stream.forget()
        try:
            with fault:
                trial.told_s.append(self._stream.wait_for(is_told))
                time.sleep(AWAY_S)
                back_at = time.monotonic()
            self._stream.forget()
            trial.back_s.append(
                self._stream.wait_for(
                    lambda line: _has_prediction(line) and line["monotonic"] >= back_at
                )
            )
        except TimeoutError:
            trial.failures.append("not told" if len(trial.told_s) == len(trial.back_s) else "lost")

    def _try_output(
        self, name: str, output: str, fault: contextlib.AbstractContextManager[None]
    ) -> None:
        trial = self.trials.setdefault(name, Trial())
        try:
            with fault:
                trial.told_s.append(self._stream.wait_for_trouble(output, over=False))
                self._stream.forget()
                self._stream.wait_for(_has_prediction)
                time.sleep(AWAY_S)
            trial.back_s.append(self._stream.wait_for_trouble(output, over=True))
        except TimeoutError:
            trial.failures.append("not told" if len(trial.told_s) == len(trial.back_s) else "lost")

    def _damaged(self) -> int:
        counts: list[int] = []
        self._stream.wait_for(lambda line: counts.append(line["damaged"]) is None)
        return counts[-1]

    @contextlib.contextmanager
    def _wrong_camera(self, mode: str) -> Iterator[None]:
        self._camera.become(mode)
        try:
            yield
        finally:
            self._camera.become("serving")

    @contextlib.contextmanager
    def _moved_clock(self) -> Iterator[None]:
        self._hours = 1 - self._hours
        (self._world.work / "clock").write_text(str(3600 * self._hours))
        yield

    @contextlib.contextmanager
    def _killed(self, child: str) -> Iterator[None]:
        os.kill(self._stream.children()[child], signal.SIGSEGV)
        yield

    @contextlib.contextmanager
    def _stalled_viewers(self) -> Iterator[None]:
        """Have ten viewers ask for pictures and never read one."""
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                viewer = stack.enter_context(socket.create_connection(self._world.page))
                request = b"GET /frame.jpg HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
                viewer.sendall(20 * (request % self._world.page[1]))
            yield

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        assert self._world.disk
        filler = self._world.disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
        filler.unlink()

    @contextlib.contextmanager
    def _no_broker(self) -> Iterator[None]:
        self._world.stop_broker()
        yield
        self._world.start_broker()


def _has_prediction(line: Line) -> bool:
    return "score" in line


def _is_in(state: str) -> IsWanted:
    return lambda line: line["state"] == state


def report(soak: Soak, stream: Stream, costs: list[tuple[float, int, int]]) -> bool:
    """Print everything; return whether all is well."""
    print(f"{'fault':<16} {'times':>5}  {'told after':>16}  {'prediction after':>16}")
    for name, trial in soak.trials.items():
        told, back = (_middle_and_most(values) for values in (trial.told_s, trial.back_s))
        failed = ", ".join(trial.failures)
        print(f"{name:<16} {len(trial.back_s):>5}  {told:>16}  {back:>16}  {failed}")
    ages = sorted(stream.ages_ms)
    parts = ", ".join(f"{ages[int(len(ages) * p)]:.1f}" for p in (0.5, 0.99))
    print(f"{stream.count} lines, {len(ages)} predictions; age of a frame: {parts} ms (p50, p99),")
    print(f"{ages[-1]:.1f} ms at most; {len(stream.wrong)} labels in a state that gives none")
    for when, cost in (("first", costs[0]), ("last", costs[-1])):
        megabytes, opened, threads = cost
        print(
            f"after the {when} round: {megabytes:.1f} MB, {opened} descriptors, {threads} threads"
        )
    grown = costs[-1][1] > costs[0][1] + 1 or costs[-1][2] > costs[0][2] + 1
    failed = any(trial.failures for trial in soak.trials.values())
    return not (grown or failed or stream.wrong)


def _middle_and_most(values: list[float]) -> str:
    return f"{statistics.median(values):.2f}, {max(values):.2f} s" if values else "-"


def main() -> None:
    """Repeat all faults until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("picture")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--work", type=Path)
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="soak-"))
    work.mkdir(exist_ok=True)
    end_at = time.monotonic() + 60 * args.minutes
    scene = cv2.imread(args.picture)
    if scene is None:
        parser.error(f"{args.picture} is no picture")
    camera = FaultyCamera(scene)
    with contextlib.ExitStack() as stack:
        world = World(work, stack)
        command = ["leansight", "stream", args.bundle, "--source", camera.url, *world.options]
        stream = Stream(command, compile_clock(work), work / "stderr")
        stack.callback(stream.process.kill)
        soak, costs = Soak(stream, camera, world), []
        while time.monotonic() < end_at:
            soak.run_all()
            stream.wait_for(_has_prediction)
            costs.append(stream.cost())
            print(f"round {len(costs)}: {costs[-1]}", file=sys.stderr, flush=True)
        begin = time.monotonic()
        stream.process.terminate()
        code = stream.process.wait(30)
        print(f"SIGTERM: ended after {time.monotonic() - begin:.2f} s with exit code {code}")
        print(f"left out: {'no small disk ' * (not world.disk)}{'no broker' * (not world.broker)}")
    frames = count_frames(work / "video.mkv")
    print(f"the video has {frames} frames")
    sys.exit(0 if report(soak, stream, costs) and frames and not code else 1)


def count_frames(video: Path) -> int:
    """Return how many frames of a video can be decoded."""
    capture = cv2.VideoCapture(str(video))
    frames = 0
    while capture.read()[0]:
        frames += 1
    return frames


if __name__ == "__main__":
    main()
