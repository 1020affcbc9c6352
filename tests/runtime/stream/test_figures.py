import dataclasses

import pytest
from live.results import change, result

from leansight.runtime.stream import figures as module
from leansight.runtime.stream.figures import StreamFigures


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time, which only the test moves."""
    now_s = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    return now_s


def test_the_rate_is_of_the_last_five_seconds_and_fades(clock: list[float]) -> None:
    figures = StreamFigures()
    assert figures.now().frames_per_s == 0
    for number in range(21):
        clock[0] = 1000 + number / 10
        figures.add(result(number))
    assert figures.now().frames_per_s == pytest.approx(10)  # after two seconds
    for number in range(21, 201):
        clock[0] = 1000 + number / 10
        figures.add(result(number))
    assert figures.now().frames_per_s == pytest.approx(10, abs=0.2)  # after twenty
    clock[0] += 2.5
    assert figures.now().frames_per_s == pytest.approx(5, abs=0.2)
    clock[0] += 10
    assert figures.now().frames_per_s == 0


def test_times_are_medians_of_the_last_hundred_frames(clock: list[float]) -> None:
    figures = StreamFigures()
    assert clock
    assert figures.now().age_ms is None
    for age_ms in [*([5000.0] * 50), *range(100, 200)]:
        figures.add(dataclasses.replace(result(), age_ms=age_ms, inference_ms=age_ms / 2))
    assert figures.now().age_ms == pytest.approx(149.5)
    assert figures.now().inference_ms == pytest.approx(74.75)


def test_the_share_of_not_sure_is_of_the_last_thousand(clock: list[float]) -> None:
    figures = StreamFigures()
    assert clock
    for number in range(1200):
        figures.add(result(number, None if number < 700 else "stop"))
    assert figures.now().not_sure_share == pytest.approx(0.5)
    assert figures.now().frames == 1200


def test_waiting_at_the_start_is_no_reconnect(clock: list[float]) -> None:
    figures = StreamFigures()
    figures.add(change("reconnecting", "not there yet"))
    figures.add(result(0))
    assert figures.now().reconnects == 0
    for state in ("stale", "reconnecting", "reconnecting"):
        figures.add(change(state, "lost"))
    clock[0] += 7
    now = figures.now()
    assert (now.reconnects, now.in_state_s, now.since_frame_s) == (1, 7, 7)
    assert now.health.reason == "lost"


def test_a_stream_that_is_lost_does_not_hang(clock: list[float]) -> None:
    figures = StreamFigures()
    figures.add(result(0))
    clock[0] += 9
    assert figures.now().is_healthy
    clock[0] += 2
    assert figures.now().health.reason == "no result for 11 s"
    figures.add(change("reconnecting", "lost"))
    clock[0] += 3600
    assert figures.now().health.state == "reconnecting"
