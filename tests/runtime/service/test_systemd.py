import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from doubles.stream_results import GRAY, seen, unlabelled

from leansight.runtime.decision import Prediction
from leansight.runtime.service.systemd import SystemdNotifier

INVALID = Prediction(label=None, labels=(), score=0.0, status="invalid output", top=())


class Listener:
    """A socket as systemd has it."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    def heard(self) -> list[str]:
        """Return the lines of the next datagram, none if there is none."""
        try:
            return self.socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return []


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "8000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    listener = Listener(address)
    yield listener
    listener.socket.close()


def notifier() -> SystemdNotifier:
    made = SystemdNotifier.from_environment()
    assert made is not None
    return made


def test_systemd_hears_ready_then_pings_then_stopping(systemd: Listener) -> None:
    output = notifier()
    output.write(seen(at_s=100))
    assert systemd.heard() == ["READY=1", "WATCHDOG=1", "STATUS=running, 0.0 frames/s"]
    output.write(seen(at_s=101))
    assert systemd.heard() == []
    output.write(seen(at_s=102))  # a quarter of the eight seconds
    assert systemd.heard() == ["WATCHDOG=1"]
    output.close()
    assert systemd.heard() == ["STOPPING=1"]


def test_a_camera_that_is_awaited_holds_up_no_boot_and_sets_off_no_watchdog(
    systemd: Listener,
) -> None:
    output = notifier()
    output.write(unlabelled("reconnecting", "no such camera", at_s=0))
    assert systemd.heard() == [
        "READY=1",
        "WATCHDOG_USEC=3600000000",
        "WATCHDOG=1",
        "STATUS=reconnecting: no such camera",
    ]
    output.write(seen(at_s=60))
    assert systemd.heard() == [
        "WATCHDOG_USEC=8000000",
        "WATCHDOG=1",
        "STATUS=running, 0.0 frames/s",
    ]
    output.close()


def test_a_state_without_frames_is_no_ping(systemd: Listener) -> None:
    output = notifier()
    output.write(unlabelled("reconnecting", at_s=0))
    systemd.heard()
    output.write(unlabelled("stale", "hangs", at_s=50))
    assert systemd.heard() == ["STATUS=stale: hangs"]
    output.close()


def test_an_unusable_picture_went_through_the_whole_stream(systemd: Listener) -> None:
    output = notifier()
    output.write(seen(at_s=0))
    systemd.heard()
    output.write(unlabelled("unusable", "it is dark", at_s=4, image=GRAY))
    assert "WATCHDOG=1" in systemd.heard()
    output.close()


def test_a_model_that_fails_is_told_as_such(systemd: Listener) -> None:
    output = notifier()
    output.write(unlabelled("degraded", "it crashed\nREADY=1", at_s=0, image=GRAY))
    assert "STATUS=degraded: it crashed?READY=1" in systemd.heard()
    output.write(replace(seen(), prediction=INVALID))
    assert "STATUS=invalid output" in systemd.heard()
    output.write(seen(at_s=1))
    assert "STATUS=running, " in "".join(systemd.heard())
    output.close()


def test_without_systemd_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert SystemdNotifier.from_environment() is None


@pytest.mark.usefixtures("systemd")
def test_a_systemd_that_does_not_listen_is_trouble(tmp_path: Path) -> None:
    output = notifier()
    (tmp_path / "notify").unlink()
    output.write(seen())
    assert "systemd does not listen" in output.trouble
    output.close()


def test_the_watchdog_of_another_process_is_not_ours(
    systemd: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_PID", "1")
    output = notifier()
    output.write(seen())
    assert systemd.heard() == ["READY=1", "STATUS=running, 0.0 frames/s"]
    output.close()
