"""Does a stream that is not healthy lose its trial, and one that starts slowly win it?"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from leansight.runtime.installation import trial
from leansight.runtime.installation.trial import service_health, trouble_in


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(trial, "time", clock)
    return clock


def healthy_in(*spans: tuple[float, float], clock: Clock) -> Iterator[str]:
    """Return a health that is good in these seconds."""
    while True:
        yield "" if any(a <= clock.now < b for a, b in spans) else f"bad at {clock.now:g}"


@pytest.mark.parametrize(
    ("spans", "trouble", "end_s"),
    [
        ([(0, 100)], "", 60),
        ([(20, 100)], "", 60),
        ([], "bad at 30", 30),
        ([(0, 10)], "bad at 39", 39),
        ([(5, 12), (30, 100)], "", 60),
        ([(0, 50)], "bad at 60", 60),
    ],
    ids=["healthy", "slow start", "never", "fails", "a gap", "fails at the end"],
)
def test_a_trial_ends_within_a_minute_by_what_the_stream_says(
    spans: list[tuple[float, float]], trouble: str, end_s: float, clock: Clock
) -> None:
    health = healthy_in(*spans, clock=clock)
    assert trouble_in(lambda: next(health)) == trouble
    assert clock.now == end_s


@pytest.mark.parametrize(
    ("shown", "trouble"),
    [
        ("ActiveState=active\nStatusText=running, 9.8 frames/s", ""),
        ("ActiveState=active\nStatusText=degraded, 4.0 frames/s", ""),
        ("StatusText=reconnecting: no camera\nActiveState=active", "s says 'reconnecting: no"),
        ("ActiveState=activating\nStatusText=", "the service s is activating"),
        ("", "the service s is unknown"),
    ],
)
def test_the_health_of_a_service_is_what_systemd_knows(
    shown: str, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\n[ $2 = s ] && cat <<'E'\n{shown}\nE\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert (trouble in service_health("s")) if trouble else service_health("s") == ""
