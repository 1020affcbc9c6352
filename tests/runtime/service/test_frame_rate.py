import pytest
from doubles.stream_results import seen, unlabelled

from leansight.runtime.service.frame_rate import FrameRate


def test_frames_a_second_are_those_of_the_last_seconds() -> None:
    rate = FrameRate()
    assert rate.add(seen(at_s=0)) == 0
    slow = [rate.add(seen(at_s=second)) for second in range(1, 5)]
    assert slow == [1] * 4
    fast = [rate.add(seen(at_s=5 + number / 25)) for number in range(100)]
    assert fast[-1] == pytest.approx(25)
    assert rate.add(unlabelled("stale", at_s=60)) == 0
