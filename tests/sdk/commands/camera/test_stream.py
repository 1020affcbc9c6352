import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_line import MAIN, leansight
from streams import MotionJpegServer


@contextmanager
def streaming(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run `leansight stream` until the `with` ends."""
    command = [sys.executable, "-c", MAIN, "stream", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    yield from map(json.loads, process.stdout)


def test_each_frame_of_a_live_stream_is_a_line(tiny_bundle: Path) -> None:
    with (
        MotionJpegServer(10**6) as server,
        streaming(tiny_bundle, "--source", server.url, "--json") as process,
    ):
        wanted = (line for line in lines(process) if "score" in line)
        first, second = next(wanted), next(wanted)
    assert first["state"] == second["state"] == "running"
    assert second["frame"] > first["frame"]
    assert second["monotonic"] > first["monotonic"]
    assert first["damaged"] == 0


@pytest.mark.parametrize("state", ["running", "stale", "reconnecting"])
def test_sigterm_ends_it_in_every_state(tiny_bundle: Path, state: str) -> None:
    plans = {"running": (10**6,), "stale": (-20, 0), "reconnecting": (0,)}[state]
    with (
        MotionJpegServer(*plans) as server,
        streaming(tiny_bundle, "--source", server.url, "--json") as process,
    ):
        next(line for line in lines(process) if line["state"] == state)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_bundle_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    done = leansight("stream", tmp_path / "no.bundle")
    assert done.returncode == 1
    assert done.stderr == f"leansight: {tmp_path / 'no.bundle'} does not exist\n"


def test_the_last_good_bundle_takes_the_place_of_one_that_is_damaged(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    from leansight.runtime.bundle import Bundle
    from leansight.runtime.service.last_good import copy_bundle

    good = tmp_path / "good.zip"
    copy_bundle(Bundle.load(tiny_bundle), good)
    model = tiny_bundle / "model.tflite"
    os.truncate(model, model.stat().st_size // 2)
    with (
        MotionJpegServer(10**6) as server,
        streaming(tiny_bundle, "--source", server.url, "--last-good", good, "--json") as process,
    ):
        line = next(line for line in lines(process) if "score" in line)
    assert line["state"] == "degraded"
    assert line["reason"].startswith(f"{good} is used, as ")


def test_a_bundle_that_does_not_describe_its_validation_images_is_said(
    tiny_bundle: Path, video: Path
) -> None:
    done = leansight("stream", tiny_bundle, "--source", video, "--json")
    assert done.returncode == 0
    said = " ".join(done.stderr.split())
    assert "does not describe its validation images, so drift is not told" in said
