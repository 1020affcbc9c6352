"""Events: a label that was seen for a while, with its beginning, its end and its best picture."""

from dataclasses import dataclass

from leansight.runtime.stream.capture.frame_slot import Frame


@dataclass(frozen=True, kw_only=True)
class Event:
    """A label that a stream has seen for a while.

    `number` counts the events of a stream from 1. `start_s` and `end_s` are seconds since the epoch
    (of a file: the position in it); `end_s` is None while the event lasts. `score` is the best
    probability in it, `best` the frame with that score, `frames` how many frames had the label.
    """

    number: int
    label: str
    start_s: float
    end_s: float | None
    score: float
    best: Frame
    frames: int
