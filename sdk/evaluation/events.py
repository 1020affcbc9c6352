"""Events in videos: which signs a smoothing finds, how late, and what it makes up."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from leansight.runtime.decision import DecisionRule
from leansight.runtime.errors import DataError
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.events import EventDetector, Smoothing
from leansight.sdk.data.samples import Sample
from leansight.sdk.evaluation.answers import Answers


@dataclass(frozen=True, kw_only=True)
class Span:
    """A label that is shown, or was found, from one frame of a video to another, both included.

    `known` is the frame in which it was told: of what is shown, its first.
    """

    video: str
    label: str
    first: int
    last: int
    known: int


@dataclass(frozen=True, kw_only=True)
class EventScores:
    """How the events of one label, or of all, were found.

    `shown` signs of which `found` had an event while they were shown and `missed` had none. `false`
    events are those of a label that is not shown, and second ones of the same sign. The delays
    are from the first frame that shows a sign to the one in which its event begins, in the middle
    and at most of those found, None where none was; in seconds at the frame rate assumed.
    """

    label: str
    shown: int
    found: int
    missed: int
    false: int
    delay_frames: float | None
    most_delay_frames: int | None
    delay_s: float | None


def measure_events(answers: Answers, smoothing: Smoothing, frame_rate: float) -> dict[str, Any]:
    """Return how the events in all videos were found, as plain JSON values.

    The frames of a video are taken in the order of their names, `frame_rate` of them a second, and
    go through the smoothing of a stream. Images of no video are left out.

    Raises:
        DataError: no image belongs to a video.

    """
    videos = _videos_of(answers.samples)
    if not videos:
        raise DataError(
            "no image belongs to a video: say how file names tell frames of one video",
            parameter="videos",
        )
    shown, found = list[Span](), list[Span]()
    for name, indices in videos.items():
        shown += _shown(name, [answers.samples[index].labels for index in indices])
        found += _found(name, answers, indices, smoothing, frame_rate)
    by_class = [
        _score(
            label,
            [span for span in shown if span.label == label],
            [span for span in found if span.label == label],
            frame_rate,
        )
        for label in answers.labels
    ]
    return {
        "videos": len(videos),
        "frames": sum(map(len, videos.values())),
        "frame_rate": frame_rate,
        "smoothing": asdict(smoothing),
        "all": asdict(_score("all", shown, found, frame_rate)),
        "classes": [asdict(scores) for scores in by_class],
    }


def _videos_of(samples: Sequence[Sample]) -> dict[str, list[int]]:
    """Return the images of each video, by their index, in the order of its frames."""
    videos = defaultdict[str, list[int]](list)
    for index in sorted(range(len(samples)), key=lambda i: _natural(samples[i].path)):
        if samples[index].video:
            videos[samples[index].video].append(index)
    return dict(videos)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Return what sorts frame 9 before frame 10."""
    parts = re.findall(r"\d+|\D+", path.as_posix())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _shown(video: str, labels: Sequence[tuple[str, ...]]) -> Iterator[Span]:
    """Yield each label of a video with the frames that show it one after the other."""
    for label in sorted({label for shown in labels for label in shown}):
        marks = np.array([0, *(label in shown for shown in labels), 0])
        changes = np.flatnonzero(np.diff(marks)).reshape(-1, 2)
        for first, end in changes.tolist():
            yield Span(video=video, label=label, first=first, last=end - 1, known=first)


def _found(
    video: str, answers: Answers, indices: Sequence[int], smoothing: Smoothing, frame_rate: float
) -> Iterator[Span]:
    """Yield the events of a video, as a stream of its frames would have them."""
    decide = DecisionRule(answers.labels, answers.policy, answers.task)
    detector = EventDetector(smoothing)
    nothing = np.zeros((1, 1, 3), np.uint8)
    known: dict[int, int] = {}
    ended = []
    for number, index in enumerate(indices):
        time_s = number / frame_rate
        frame = Frame(image=nothing, number=number, time_s=time_s, position_s=time_s)
        for event in detector.see(frame, decide(answers.logits[index], top=len(answers.labels))):
            if event.end_s is None:
                known[event.number] = number
            else:
                ended.append(event)
    for event in (*ended, *detector.end()):
        assert event.end_s is not None
        yield Span(
            video=video,
            label=event.label,
            first=round(event.start_s * frame_rate),
            last=round(event.end_s * frame_rate),
            known=known[event.number],
        )


def _score(
    label: str, shown: Sequence[Span], found: Sequence[Span], frame_rate: float
) -> EventScores:
    """Return the scores: each event is the first one of a sign that is shown with it, or false."""
    delays: dict[Span, int] = {}
    for event in sorted(found, key=lambda span: span.known):
        for sign in shown:
            is_same = (sign.video, sign.label) == (event.video, event.label)
            is_with = event.first <= sign.last and sign.first <= event.last
            if sign not in delays and is_same and is_with:
                delays[sign] = max(0, event.known - sign.first)
                break
    middle = median(delays.values()) if delays else None
    return EventScores(
        label=label,
        shown=len(shown),
        found=len(delays),
        missed=len(shown) - len(delays),
        false=len(found) - len(delays),
        delay_frames=middle,
        most_delay_frames=max(delays.values(), default=None),
        delay_s=None if middle is None else middle / frame_rate,
    )
