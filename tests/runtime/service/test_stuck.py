import threading
import time
from dataclasses import replace

from doubles.stream_results import seen, unlabelled

from leansight.runtime.service.stuck import StuckTimer
from leansight.runtime.stream.capture.health import Health
from leansight.runtime.stream.classified_stream import StreamResult


def stuck() -> StreamResult:
    health = Health(state="stale", reason="it hangs in the kernel", is_stuck=True)
    return replace(unlabelled("stale"), health=health)


def test_a_stream_that_stays_stuck_is_ended() -> None:
    ended = threading.Event()
    timer = StuckTimer(ended.set, after_s=0.01)
    timer.write(stuck())
    assert ended.wait(60)
    timer.close()


def test_a_stream_that_gets_free_goes_on() -> None:
    ended = threading.Event()
    timer = StuckTimer(ended.set, after_s=0.5)
    timer.write(seen())
    timer.write(stuck())
    timer.write(unlabelled("reconnecting"))
    time.sleep(1)
    assert not ended.is_set()
    timer.write(stuck())
    timer.close()
    time.sleep(1)
    assert not ended.is_set()
