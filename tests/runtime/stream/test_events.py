"""Events from the labels of single frames: what begins, what ends, when, and with which picture."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leansight.runtime.decision import Prediction
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.events import Event, EventDetector, Smoothing

FRAME_S = 1 / 32  # exact in binary
EPOCH_S = 1000.0


def frame_at(number: int, frame_s: float = FRAME_S) -> Frame:
    image = np.full((2, 2, 3), number % 256, np.uint8)
    monotonic_s = number * frame_s
    return Frame(image=image, number=number, time_s=EPOCH_S + monotonic_s, monotonic_s=monotonic_s)


def one(label: str | None, score: float = 0.9) -> Prediction:
    """Say that a frame shows this one label, or that it is not sure."""
    labels = (label,) if label else ()
    return Prediction(
        label=label,
        labels=labels,
        score=score,
        status="sure" if label else "not sure",
        top=((label or "a", score),),
    )


def many(labels: str) -> Prediction:
    """Say that a frame shows any number of labels, one letter each."""
    top = tuple((label, 0.9) for label in labels)
    return replace(one(labels[:1] or None), labels=tuple(labels), top=top, task="multilabel")


def run(
    predictions: Sequence[Prediction], smoothing: Smoothing | None = None, frame_s: float = FRAME_S
) -> list[Event]:
    """Return all events of a stream in order, as they are told, the last ones ended."""
    detector = EventDetector(smoothing or Smoothing())
    events: list[Event] = []
    for number, prediction in enumerate(predictions):
        events += detector.see(frame_at(number, frame_s), prediction)
    return [*events, *detector.end()]


def test_a_sign_in_thirty_frames_is_one_event() -> None:
    frames = [one(None)] * 20 + [one("stop")] * 30 + [one(None)] * 30

    begun, ended = run(frames)

    assert (begun.label, begun.end_s, begun.number) == ("stop", None, 1)
    assert ended.label == "stop"
    assert ended.number == 1
    assert ended.start_s == EPOCH_S + 20 * FRAME_S
    assert ended.end_s == EPOCH_S + 49 * FRAME_S
    assert ended.frames == 30


def test_single_wrong_and_missing_labels_change_nothing() -> None:
    frames = [one("stop")] * 40
    for number in (9, 18, 27):
        frames[number] = one(None if number % 2 else "yield")

    begun, ended = run(frames)

    assert (begun.label, ended.label, ended.frames) == ("stop", "stop", 37)


def test_a_label_that_flickers_is_no_event() -> None:
    assert run([one("stop"), one(None), one(None)] * 20) == []


def test_two_signs_one_after_the_other_are_two_events_and_never_both_at_once() -> None:
    events = run([one("stop")] * 30 + [one("yield")] * 30)

    assert [(e.label, e.end_s is None) for e in events] == [
        ("stop", True), ("stop", False), ("yield", True), ("yield", False),
    ]  # fmt: skip


def test_of_many_labels_several_events_last_at_once() -> None:
    events = run([many("a")] * 20 + [many("ab")] * 40 + [many("b")] * 40)

    assert [(e.label, e.number, e.end_s is None) for e in events] == [
        ("a", 1, True), ("b", 2, True), ("a", 1, False), ("b", 2, False),
    ]  # fmt: skip
    assert events[2].end_s == EPOCH_S + 59 * FRAME_S
    assert events[1].start_s == EPOCH_S + 20 * FRAME_S


def test_the_best_picture_is_a_copy_of_the_frame_with_the_best_score() -> None:
    detector = EventDetector(Smoothing())
    for number in range(30):
        frame = frame_at(number)
        detector.see(frame, one("stop", 0.5 + (number if number <= 12 else -number) / 100))
        frame.image[:] = 255  # as a caller that draws on it

    (event,) = detector.end()

    assert event.best.number == 12
    assert (event.best.image == 12).all()
    assert event.score == pytest.approx(0.62)


def test_a_gap_in_time_ends_an_event_and_another_begins() -> None:
    detector = EventDetector(Smoothing(gap_s=1))
    events = [e for n in range(20) for e in detector.see(frame_at(n), one("stop"))]
    events += [e for n in range(60, 80) for e in detector.see(frame_at(n), one("stop"))]

    assert [(e.number, e.end_s is None) for e in events] == [(1, True), (1, False), (2, True)]
    assert events[1].end_s == EPOCH_S + 19 * FRAME_S
    assert events[2].start_s == EPOCH_S + 60 * FRAME_S


def test_a_slow_stream_has_events_as_well() -> None:
    events = run([one(None)] * 3 + [one("stop")] * 5 + [one(None)] * 5, frame_s=1.0)

    assert [(e.label, e.start_s - EPOCH_S, e.end_s) for e in events] == [
        ("stop", 3.0, None),
        ("stop", 3.0, EPOCH_S + 7.0),
    ]


def test_of_a_file_the_times_are_positions_however_fast_it_is_read() -> None:
    detector = EventDetector(Smoothing())
    for number in range(40):
        frame = replace(frame_at(number, 0.0001), position_s=number / 10)
        detector.see(frame, one("stop" if 10 <= number < 30 else None))
        if number == 29:
            (event,) = detector.end()

    assert (event.start_s, event.end_s) == (1.0, 2.9)


def test_a_clock_that_stands_still_or_goes_back_keeps_a_bounded_window() -> None:
    detector = EventDetector(Smoothing())
    for number in range(5000):
        frame = replace(frame_at(number), position_s=0.0 if number % 7 else -1.0)
        detector.see(frame, one("stop"))

    assert len(detector._window) <= 1000  # noqa: SLF001 -- what is bounded has no other sight


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window_s": 0}, "window_s"),
        ({"gap_s": float("inf")}, "gap_s"),
        ({"begin_share": 0.2}, "end_share"),
        ({"begin_share": 1.2}, "begin_share"),
        ({"end_share": 0}, "end_share"),
        ({"least_frames": 0}, "least_frames"),
    ],
)
def test_a_smoothing_that_means_nothing_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Smoothing(**values)


def spans_of(present: Sequence[bool], window: int, begin: float, end: float) -> list[list[int]]:
    """Return the [first, last] frames of the events of one label, by the definition alone.

    The oracle: each frame's share is counted anew from the list, without running sums or state
    but whether an event lasts.
    """
    spans: list[list[int]] = []
    lasting = False
    for now in range(len(present)):
        late = present[max(0, now - window + 1) : now + 1]
        share = sum(late) / len(late)
        if lasting and share < end:
            lasting = False
        elif not lasting and len(late) >= 3 and share >= begin and present[now]:
            spans.append([now, now])
            lasting = True
        if lasting and present[now]:
            spans[-1][1] = now
    return spans


@given(
    st.lists(st.booleans(), max_size=120),
    st.sampled_from([3, 8, 16]),
    st.sampled_from([0.5, 0.6, 0.75, 1.0]),
    st.sampled_from([0.1, 0.25, 0.5]),
)
def test_events_begin_and_end_by_the_shares_alone(
    present: list[bool], window: int, begin: float, end: float
) -> None:
    smoothing = Smoothing(window_s=window * FRAME_S, begin_share=begin, end_share=end)

    events = run([one("stop" if p else None) for p in present], smoothing)

    expected = spans_of(present, window, begin, end)
    ended = [e for e in events if e.end_s is not None]
    assert [e.end_s for e in ended] == [EPOCH_S + last * FRAME_S for _, last in expected]
    assert [e.number for e in ended] == list(range(1, len(expected) + 1))
    assert len(events) == 2 * len(expected)
    for event, (first, _) in zip(ended, expected, strict=True):
        start = round((event.start_s - EPOCH_S) / FRAME_S)
        assert first - window < start <= first
        assert present[start]


@given(st.lists(st.sampled_from(["", "a", "b", "ab", "bc", "abc"]), max_size=80))
def test_of_many_labels_each_has_the_events_that_it_has_alone(shown: list[str]) -> None:
    together = run([many(labels) for labels in shown])

    for label in "abc":
        alone = run([many(label if label in labels else "") for labels in shown])
        of_label = [e for e in together if e.label == label]
        assert [(e.start_s, e.end_s, e.frames) for e in of_label] == [
            (e.start_s, e.end_s, e.frames) for e in alone
        ]


@given(st.lists(st.sampled_from([None, "a", "b"]), max_size=150))
def test_with_one_label_an_image_one_event_lasts_at_a_time(shown: list[str | None]) -> None:
    lasting: list[int] = []
    for event in run([one(label) for label in shown]):
        if event.end_s is None:
            assert lasting == []
            lasting = [event.number]
        else:
            assert lasting == [event.number]
            lasting = []
    assert lasting == []
