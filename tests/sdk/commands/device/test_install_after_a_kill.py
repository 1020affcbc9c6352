"""Who decides a trial when the command that watches it is killed, and the stream as well?"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_models
from command_line import MAIN
from doubles.service_manager import ServiceManager
from hostile.attacks import forge
from streams import MotionJpegServer

from leansight.runtime.bundle import Bundle
from leansight.runtime.installation.versions import Installation

pytestmark = pytest.mark.slow
ALWAYS, NEVER = 10**6, 0  # pictures that the camera gives before it is lost
WAIT_S = 90


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s, f"not within {WAIT_S} s: {what}"
        time.sleep(0.02)


@dataclass
class Machine:
    """A Pi: an installation whose version 2 is on trial, its service, and who has put it there."""

    installation: Installation
    service: ServiceManager
    command: "subprocess.Popen[bytes]"

    def kill_command(self) -> None:
        """Kill `leansight install` in its trial, when the stream has begun to watch as well."""
        wait_for(lambda: bool(self.service.bundles), "the service is restarted")
        assert self.installation.pending_trial() is not None
        self.command.kill()
        assert self.command.wait(10) < 0

    def kill_stream(self) -> None:
        """Kill the stream in its trial, when this start of it is counted; it is started again."""
        assert self.installation.pending_trial() is not None
        starts = len(self.service.starts)
        self.service.starts[starts - 1][1].kill()
        wait_for(lambda: len(self.service.starts) > starts, "another start")

    def starts(self) -> int:
        trial = self.installation.pending_trial()
        return -1 if trial is None else trial.starts

    def wait_for_decision(self) -> int | None:
        wait_for(lambda: self.installation.pending_trial() is None, "a decision")
        return self.installation.current_number()

    def wait_for_line(self, line: str) -> None:
        wait_for(lambda: line in self.service.log.read_text(), line)


@contextmanager
def machine(bundle: Path, folder: Path, *, camera: float, trial_s: float) -> Iterator[Machine]:
    old = tiny_models.golden_bundle(bundle)
    new = forge(shutil.copytree(old, folder / "new"), lambda values: values.update(name="new"))
    installation = Installation(folder / "signs")
    installation.install(Bundle.load(old))
    leansight = [sys.executable, "-c", MAIN]
    with MotionJpegServer(camera) as server:
        stream = [*leansight, "stream", str(installation.link), "--source", server.url]
        with ServiceManager(folder / "systemd", stream, installation.link) as service:
            install = ["install", new, "--to", installation.folder, "--service", "garden"]
            path = os.pathsep.join((str(service.path), os.environ["PATH"]))
            with subprocess.Popen(
                [*leansight, *map(str, install), "--trial", str(trial_s)],
                env=os.environ | {"PATH": path},
            ) as command:
                try:
                    yield Machine(installation, service, command)
                finally:
                    command.kill()


def test_a_healthy_version_stays_after_the_command_is_killed(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with machine(tiny_bundle, tmp_path, camera=ALWAYS, trial_s=20) as pi:
        pi.kill_command()
        assert pi.wait_for_decision() == 2
        assert pi.service.bundles == ["2"]
        pi.wait_for_line("version 2 has stood its trial")


def test_a_version_without_labels_is_taken_back_after_the_command_is_killed(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with machine(tiny_bundle, tmp_path, camera=NEVER, trial_s=8) as pi:
        pi.kill_command()
        assert pi.wait_for_decision() == 1
        wait_for(lambda: pi.service.bundles == ["2", "1"], "the service begins anew")
        pi.wait_for_line("version 2: reconnecting: ")


def test_a_version_whose_stream_is_killed_twice_is_taken_back_at_the_third_start(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with machine(tiny_bundle, tmp_path, camera=ALWAYS, trial_s=600) as pi:
        pi.kill_command()
        pi.kill_stream()
        wait_for(lambda: pi.starts() == 1, "a start is counted")
        (pi.installation.link / "model.tflite").write_bytes(b"worn out")
        pi.kill_stream()  # the next start fails of itself
        assert pi.wait_for_decision() == 1
        pi.wait_for_line("version 2 was started 2 times in vain: version 1 is at work again")
        wait_for(lambda: "running" in pi.service.shown.read_text(), "version 1 gives labels")


def test_after_a_power_cut_the_next_start_decides(tiny_bundle: Path, tmp_path: Path) -> None:
    with machine(tiny_bundle, tmp_path, camera=ALWAYS, trial_s=20) as pi:
        pi.kill_command()
        pi.kill_stream()
        assert pi.wait_for_decision() == 2
        assert pi.service.bundles == ["2", "2"]


def test_while_the_command_lives_it_decides_whatever_becomes_of_the_stream(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with machine(tiny_bundle, tmp_path, camera=ALWAYS, trial_s=30) as pi:
        wait_for(lambda: bool(pi.service.bundles), "the service is restarted")
        for _ in range(3):
            pi.kill_stream()
            assert pi.starts() == 0
        assert pi.command.wait(WAIT_S) == 0
        assert (pi.starts(), pi.installation.current_number()) == (-1, 2)
