"""SIGTERM and Ctrl-C end `leansight stream` in order, with every output on, in every state."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import cv2
import pytest
from command_line import MAIN
from streams import MotionJpegServer

from leansight.sdk.commands.camera.stopping import Stopping

LONG_S = 120.0
# Two seconds are promised; a machine with other work to do may take longer.
END_S = 10.0
ENDLESS = 1_000_000


def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Program:
    """`leansight stream` in a process group of its own, with all that it can write."""

    def __init__(self, bundle: Path, source: str, folder: Path) -> None:
        self.folder = folder
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(str(folder / "notify"))
        outputs = {
            "--json-file": folder / "a.jsonl",
            "--save": folder / "a.mkv",
            "--pin": "upright=17",
            "--mqtt": f"mqtt://127.0.0.1:{closed_port()}/garden",
            "--web": f"127.0.0.1:{closed_port()}",
            "--metrics": f"127.0.0.1:{closed_port()}",
            "--hard-examples": folder / "hard",
        }
        words = [str(word) for pair in outputs.items() for word in pair]
        arguments = ["stream", str(bundle), "--source", source, "--json", *words]
        environment = {
            "GPIOZERO_PIN_FACTORY": "mock",
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": "30000000",
        }
        with (folder / "errors").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MAIN, *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | environment,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.systemd.close()

    def wait_for(self, state: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if json.loads(line)["state"] == state:
                return
        pytest.fail((self.folder / "errors").read_text())

    def end(self, number: int) -> float:
        """Send the signal and return how many seconds the program has taken to end."""
        assert self.process.stdout is not None
        begin_s = time.monotonic()
        self.process.send_signal(number)
        for line in self.process.stdout:
            assert line.endswith("\n")
            json.loads(line)
        self.process.wait(LONG_S)
        return time.monotonic() - begin_s

    def told_systemd(self) -> list[str]:
        lines: list[str] = []
        self.systemd.settimeout(0)
        while True:
            try:
                lines += self.systemd.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines

    def processes(self) -> list[str]:
        """Return the processes of the group that are still there."""
        there = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":  # its session
                there.append(stat.parent.name)
        return there


@contextmanager
def source_that_is(state: str) -> Iterator[str]:
    """Yield the URL of a camera that brings a stream into this state."""
    if state == "reconnecting":
        yield f"http://127.0.0.1:{closed_port()}/stream.mjpg"
        return
    with MotionJpegServer(ENDLESS if state == "running" else -20) as server:
        yield server.url


@pytest.mark.parametrize("state", ["running", "stale", "reconnecting"])
def test_sigterm_ends_everything_in_order(tiny_bundle: Path, tmp_path: Path, state: str) -> None:
    with source_that_is(state) as source, Program(tiny_bundle, source, tmp_path) as program:
        program.wait_for(state)
        took_s = program.end(signal.SIGTERM)
        left, told = program.processes(), program.told_systemd()
    errors = (tmp_path / "errors").read_text()
    assert program.process.returncode == 0, errors
    assert took_s < END_S
    assert "Traceback" not in errors
    assert left == []
    assert (told[0], told[-1]) == ("READY=1", "STOPPING=1")
    lines = (tmp_path / "a.jsonl").read_text()
    assert lines.endswith("\n")
    assert all(json.loads(line)["monotonic"] > 0 for line in lines.splitlines())
    if state != "reconnecting":
        assert cv2.VideoCapture(str(tmp_path / "a.mkv"), cv2.CAP_FFMPEG).read()[0]


def test_ctrl_c_ends_as_it_ends_every_command(tiny_bundle: Path, tmp_path: Path) -> None:
    running = source_that_is("running")
    with running as source, Program(tiny_bundle, source, tmp_path) as program:
        program.wait_for("running")
        assert program.end(signal.SIGINT) < END_S
    assert program.process.returncode == 130
    assert (tmp_path / "errors").read_text().splitlines()[-1] == "stopped"


def test_sigterm_ends_a_program_whose_reader_has_stopped_reading(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    running = source_that_is("running")
    with running as source, Program(tiny_bundle, source, tmp_path) as program:
        program.wait_for("running")
        deadline = time.monotonic() + LONG_S
        while "lines are left out" not in (tmp_path / "errors").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        begin_s = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        program.process.wait(LONG_S)
        assert time.monotonic() - begin_s < END_S
        assert program.process.returncode == 0


def test_a_reader_that_goes_ends_the_program(tiny_bundle: Path, tmp_path: Path) -> None:
    running = source_that_is("running")
    with running as source, Program(tiny_bundle, source, tmp_path) as program:
        program.wait_for("running")
        assert program.process.stdout is not None
        program.process.stdout.close()
        assert program.process.wait(LONG_S) == 141  # as of every program behind `| head`
    assert "Traceback" not in (tmp_path / "errors").read_text()


def test_a_signal_waits_for_the_end_of_what_is_not_to_be_interrupted() -> None:
    done = []

    def work() -> None:
        with Stopping() as stopping, stopping.uninterrupted():
            signal.raise_signal(signal.SIGTERM)
            done.append("the rest")

    with pytest.raises(SystemExit) as ended:
        work()
    assert ended.value.code == 0
    assert done == ["the rest"]


def test_a_second_sigterm_does_not_disturb_the_end() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with Stopping():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                done.append("closed")

    done: list[str] = []
    with pytest.raises(SystemExit):
        work()
    assert done == ["closed"]
    assert signal.getsignal(signal.SIGTERM) == before
