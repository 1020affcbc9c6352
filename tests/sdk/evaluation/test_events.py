"""Events of videos: found, missed, false and late, counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leansight.runtime.decision import DecisionPolicy, Task
from leansight.runtime.errors import DataError
from leansight.runtime.stream.events import Smoothing
from leansight.sdk.data.samples import Sample, classes_of
from leansight.sdk.evaluation.answers import Answers
from leansight.sdk.evaluation.events import measure_events

LABELS = ("a", "b", "c")
RATE = 8.0
SURE, UNSURE = 5.0, 0.1


def answers_of(videos: dict[str, tuple[str, str]], task: Task = "classification") -> Answers:
    """Return answers to videos: what each frame shows and what is said, one letter a frame.

    "-" shows or says nothing; an upper-case letter of many labels stands for a and b together.
    """
    samples, logits = [], []
    for video, (shown, said) in videos.items():
        for number, (truth, answer) in enumerate(zip(shown, said, strict=True)):
            labels = ("a", "b") if truth == "A" else tuple(truth.replace("-", ""))
            path = Path(video or "alone") / f"{number}.png"
            samples.append(Sample(path=path, labels=labels, video=video))
            marks = [label in ("ab" if answer == "A" else answer) for label in LABELS]
            logits.append([SURE if mark else -SURE for mark in marks])
            if answer == "-" and task == "classification":
                logits[-1] = [UNSURE, 0, 0]
    return Answers(
        name="model",
        labels=LABELS,
        task=task,
        policy=DecisionPolicy(threshold=0.75),
        samples=tuple(samples),
        classes=classes_of(samples, LABELS, task),
        logits=np.array(logits, np.float32),
    )


def of_label(events: dict, label: str) -> dict:
    return next(scores for scores in events["classes"] if scores["label"] == label)


def test_found_missed_false_and_late() -> None:
    answers = answers_of(
        {
            "sure": ("a" * 12, "a" * 12),
            "late": ("a" * 12, "-----" + "a" * 7),
            "missed": ("b" * 12, "-" * 12),
            "wrong": ("b" * 12, "c" * 12),
        }
    )

    events = measure_events(answers, Smoothing(), RATE)

    assert events["videos"] == 4
    assert events["frames"] == 48
    counts = {k: events["all"][k] for k in ("shown", "found", "missed", "false")}
    assert counts == {"shown": 4, "found": 2, "missed": 2, "false": 1}
    found = of_label(events, "a")
    # Three frames are needed; of the late one 3 of the last 4, at 8 frames a second, have it in
    # frame 7.
    assert (found["delay_frames"], found["most_delay_frames"]) == (4.5, 7)
    assert found["delay_s"] == pytest.approx(4.5 / 8)
    assert of_label(events, "b")["missed"] == 2
    assert of_label(events, "c")["false"] == 1
    assert of_label(events, "c")["delay_frames"] is None


def test_a_sign_that_is_told_twice_is_one_found_and_one_false() -> None:
    said = "a" * 10 + "-" * 10 + "a" * 10
    events = measure_events(answers_of({"v": ("a" * 30, said)}), Smoothing(), RATE)

    assert events["all"]["found"] == 1
    assert events["all"]["false"] == 1


def test_of_many_labels_each_shown_stretch_is_a_sign() -> None:
    shown = "-----aaaaaAAAAAbbbbb----------bbbbb"
    events = measure_events(
        answers_of({"v": (shown, shown)}, "multilabel"), Smoothing(window_s=0.3), RATE
    )

    assert of_label(events, "a")["shown"] == of_label(events, "a")["found"] == 1
    assert of_label(events, "b")["shown"] == of_label(events, "b")["found"] == 2
    assert events["all"]["false"] == 0


def test_frames_are_taken_in_the_order_of_their_numbers() -> None:
    """By text, 10 would come before 2, and the label would flicker."""
    shown = "a" * 10 + "b" * 10
    events = measure_events(answers_of({"v": (shown, shown)}), Smoothing(window_s=0.3), RATE)

    assert (events["all"]["shown"], events["all"]["found"], events["all"]["false"]) == (2, 2, 0)


def test_images_of_no_video_are_left_out_and_alone_they_are_refused() -> None:
    events = measure_events(
        answers_of({"": ("aaa", "bbb"), "v": ("aaaa", "aaaa")}), Smoothing(), RATE
    )

    assert (events["videos"], events["frames"], events["all"]["false"]) == (1, 4, 0)
    with pytest.raises(DataError, match="no image belongs to a video"):
        measure_events(answers_of({"": ("aaa", "aaa")}), Smoothing(), RATE)


@given(
    st.lists(
        st.integers(1, 30).flatmap(
            lambda n: st.tuples(
                st.text("abc", min_size=n, max_size=n), st.text("abc-", min_size=n, max_size=n)
            )
        ),
        min_size=1,
        max_size=5,
    )
)
def test_counts_add_up_and_a_sign_is_found_where_the_answers_are_always_right(
    videos: list[tuple[str, str]],
) -> None:
    named = {str(number): texts for number, texts in enumerate(videos)}
    events = measure_events(answers_of(named), Smoothing(), RATE)
    for scores in (events["all"], *events["classes"]):
        assert scores["found"] + scores["missed"] == scores["shown"]
    for key in ("shown", "found", "missed", "false"):
        assert events["all"][key] == sum(scores[key] for scores in events["classes"])

    right = measure_events(
        answers_of({name: (shown[0] * 5, shown[0] * 5) for name, (shown, _) in named.items()}),
        Smoothing(),
        RATE,
    )
    assert right["all"]["found"] == len(videos)
    assert right["all"]["false"] == 0
    assert right["all"]["delay_frames"] == 2
