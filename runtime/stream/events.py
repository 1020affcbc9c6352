"""Events: a label that was seen for a while, with its beginning, its end and its best picture."""

import math
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import Final, Self

from leansight.runtime.decision import Prediction
from leansight.runtime.stream.capture.frame_slot import Frame

_MOST_FRAMES: Final = 1000  # in a window, also of a source whose clock stands still


@dataclass(frozen=True, kw_only=True)
class Event:
    """A label that a stream has seen for a while.

    `number` counts the events of a stream from 1. `start_s` and `end_s` are when the label was
    given first and last, in seconds since the epoch (of a file: the position in it); `end_s` is
    None while the event lasts. `score` is the best probability in it, `best` the frame with that
    score, `frames` how many frames had the label.
    """

    number: int
    label: str
    start_s: float
    end_s: float | None
    score: float
    best: Frame
    frames: int


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """When the labels of single frames make an event, and when it is over.

    What counts is the share of frames that were given the label, of those in the last `window_s`
    seconds, or of the last `least_frames` where a slow stream has fewer in that time. An event
    begins at `begin_share`, once there are `least_frames` frames, and ends below `end_share`, or
    when no frame was classified for `gap_s` seconds. With one label an image, an event also ends
    where another label's begins.
    """

    window_s: float = 0.5
    begin_share: float = 0.6
    end_share: float = 0.3
    least_frames: int = 3
    gap_s: float = 2.0

    def __post_init__(self) -> None:
        for name in ("window_s", "gap_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number of seconds above 0")
        if not 0 < self.end_share <= self.begin_share <= 1:
            raise ValueError(
                "end_share must be above 0 and at most begin_share, and that at most 1, not "
                f"{self.end_share} and {self.begin_share}"
            )
        if self.least_frames < 1:
            raise ValueError(f"least_frames must be 1 or more, not {self.least_frames}")


@dataclass(frozen=True, kw_only=True)
class _Look:
    """The labels that a frame was given, and its times: to measure by and to tell."""

    clock_s: float
    told_s: float
    labels: tuple[str, ...]

    @classmethod
    def of(cls, frame: Frame, prediction: Prediction) -> Self:
        position_s = frame.position_s
        return cls(
            clock_s=frame.monotonic_s if position_s is None else position_s,
            told_s=frame.time_s if position_s is None else position_s,
            labels=prediction.labels,
        )


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """The best picture of a label that was given of late, and may become an event."""

    score: float
    best: Frame
    clock_s: float


class EventDetector:
    """Makes events of the predictions of one frame after the other.

    It keeps one picture for each label that was given within the window or has an event.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._window: deque[_Look] = deque(maxlen=_MOST_FRAMES)
        self._candidates: dict[str, _Candidate] = {}
        self._lasting: dict[str, Event] = {}  # each as if its last frame were the end
        self._count = 0

    def see(self, frame: Frame, prediction: Prediction) -> tuple[Event, ...]:
        """Take the next frame; return the events that ended, then those that began with it."""
        look = _Look.of(frame, prediction)
        passed_s = look.clock_s - self._window[-1].clock_s if self._window else 0
        cut = () if 0 <= passed_s <= self._smoothing.gap_s else self.end()
        self._move_window(look)
        self._add(frame, prediction, look)
        is_single = prediction.task == "classification"
        given = Counter(label for seen in self._window for label in seen.labels)
        ready = self._ready(given, look.labels, is_single=is_single)
        ended = self._end_seldom(given, are_replaced=is_single and bool(ready))
        return (*cut, *ended, *map(self._begin, ready))

    def end(self) -> tuple[Event, ...]:
        """Return the events that were lasting, ended; what comes next begins anew."""
        ended = tuple(self._lasting.values())
        for seen in (self._lasting, self._candidates, self._window):
            seen.clear()
        return ended

    def _move_window(self, look: _Look) -> None:
        """Add a look; forget the old ones, and candidates whose picture is older."""
        window, smoothing = self._window, self._smoothing
        window.append(look)
        begin_s = look.clock_s - smoothing.window_s
        while len(window) > smoothing.least_frames and window[0].clock_s <= begin_s:
            window.popleft()
        for label, candidate in list(self._candidates.items()):
            if candidate.clock_s < window[0].clock_s:
                del self._candidates[label]

    def _add(self, frame: Frame, prediction: Prediction, look: _Look) -> None:
        """Add a frame to the events and candidates of its labels."""
        probabilities = dict(prediction.top)
        for label in prediction.labels:
            # `top` names the best few: a label outside is less probable than the last of them.
            score = probabilities.get(label, min(probabilities.values(), default=0.0))
            if event := self._lasting.get(label):
                event = replace(event, end_s=look.told_s, frames=event.frames + 1)
                if score > event.score:
                    event = replace(event, score=score, best=_copy(frame))
                self._lasting[label] = event
            elif label not in self._candidates or score > self._candidates[label].score:
                best = _Candidate(score=score, best=_copy(frame), clock_s=look.clock_s)
                self._candidates[label] = best

    def _ready(
        self, given: Counter[str], labels: tuple[str, ...], *, is_single: bool
    ) -> tuple[str, ...]:
        """Return those of a frame's labels whose events begin with it."""
        frames, smoothing = len(self._window), self._smoothing
        ready = tuple(
            label
            for label in labels
            if frames >= smoothing.least_frames
            and label not in self._lasting
            and given[label] / frames >= smoothing.begin_share
        )
        most = max((given[label] for label in self._lasting), default=0)
        return tuple(o for o in ready if given[o] > most) if is_single else ready

    def _end_seldom(self, given: Counter[str], *, are_replaced: bool) -> list[Event]:
        """End the events whose labels are given too seldom, or all of them."""
        frames = len(self._window)
        ended = [
            event
            for label, event in self._lasting.items()
            if are_replaced or given[label] / frames < self._smoothing.end_share
        ]
        for event in ended:
            del self._lasting[event.label]
        return ended

    def _begin(self, label: str) -> Event:
        candidate = self._candidates.pop(label)
        times_s = [look.told_s for look in self._window if label in look.labels]
        self._count += 1
        event = Event(
            number=self._count,
            label=label,
            start_s=times_s[0],
            end_s=times_s[-1],
            score=candidate.score,
            best=candidate.best,
            frames=len(times_s),
        )
        self._lasting[label] = event
        return replace(event, end_s=None)


def _copy(frame: Frame) -> Frame:
    """Return the frame with a picture of its own, whatever is drawn into this one later."""
    return replace(frame, image=frame.image.copy())
