"""The options of `leansight stream` for its page, its metrics and its hard examples."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import MAIN, refusal
from live.visitors import ask, never_reads
from prometheus_client.parser import text_string_to_metric_families
from streams import MotionJpegServer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def streaming(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", MAIN, "stream", *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_all_outputs_of_a_running_stream(tiny_bundle: Path, tmp_path: Path) -> None:
    hard, port = tmp_path / "hard", free_port()
    with (
        MotionJpegServer(10**6) as server,
        streaming(
            *(tiny_bundle, "--source", server.url, "--web", "127.0.0.1:0", "--metrics", port),
            *("--hard-examples", hard, "--hard-examples-every", 0, "--threshold", 1),
        ) as process,
    ):
        assert process.stdout
        url = next(line for line in process.stdout if line.startswith("web: ")).split()[1]
        assert ask(url, "/frame.jpg").status == 200
        # Two of the 256 pictures that the server shows in turn are of one colour.
        states = (ask(url, "/status.json").json for _ in range(100))
        status = next(status for status in states if status["state"] != "unusable")
        assert (status["name"], status["state"]) == ("tiny", "running")
        assert ask(url, "/healthz").status == 200
        body = ask(f"http://127.0.0.1:{port}", "/metrics").body.decode()
        names = {family.name for family in text_string_to_metric_families(body)}
        assert {"leansight_frames", "leansight_state", "leansight_frame_age_seconds"} <= names
        while not list(hard.glob("*_*.jpg")):
            assert process.poll() is None
    assert "tiny" in json.loads(next(hard.glob("bundle-*.json")).read_text())["bundle"]


@pytest.mark.parametrize("state", ["running", "stale", "reconnecting"])
def test_sigterm_ends_it_in_every_state_whoever_looks(
    tiny_bundle: Path, tmp_path: Path, state: str
) -> None:
    plans = {"running": (10**6,), "stale": (-20, 0), "reconnecting": (0,)}[state]
    outputs = ("--web", "127.0.0.1:0", "--metrics", free_port(), "--hard-examples", tmp_path / "h")
    with (
        MotionJpegServer(*plans) as server,
        streaming(tiny_bundle, "--source", server.url, *outputs) as process,
    ):
        assert process.stdout
        url = next(line for line in process.stdout if line.startswith("web: ")).split()[1]
        next(line for line in process.stdout if line.startswith(state))
        visitors = [never_reads(url, "/frame.jpg", requests=50) for _ in range(10)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "Traceback" not in process.stdout.read()
        for visitor in visitors:
            visitor.close()


def test_elsewhere_than_on_loopback_a_token_is_made_and_told_once(tiny_bundle: Path) -> None:
    everywhere = "0.0.0.0:0"
    with (
        MotionJpegServer(10**6) as server,
        streaming(tiny_bundle, "--source", server.url, "--web", everywhere) as process,
    ):
        assert process.stdout
        url = next(line for line in process.stdout if line.startswith("web: ")).split()[1]
        address, token = url.split("/?token=")
        local = f"http://127.0.0.1:{address.rsplit(':', 1)[1]}"
        assert ask(local, "/healthz").status == 401
        bearer = {"Authorization": f"Bearer {token}"}
        assert ask(local, "/status.json", headers=bearer).status == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--web", "signs.bundle:x"], "'signs.bundle:x' is no address"),
        (["--web-token-file", "token"], "the token is of the page: add --web (--web-token-file)"),
        (["--hard-examples", "/proc/none"], "/proc/none cannot be written: "),
    ],
)
def test_options_that_make_no_sense_are_one_line(
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert message in refusal(["stream", str(tiny_bundle), *options], monkeypatch, capsys)


@pytest.mark.parametrize("option", ["--web", "--metrics"])
def test_a_port_in_use_is_one_line_that_names_the_option(
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        line = refusal(["stream", str(tiny_bundle), option, address], monkeypatch, capsys)
    assert line == (
        f"leansight: {address} cannot be listened at: address already in use. "
        f"Choose another port or address ({option})"
    )
