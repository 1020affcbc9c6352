"""What a stream shows, frame by frame: a label, "not sure", or why nothing can be said."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import Prediction
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.capture.health import LABELLING, Health
from leansight.runtime.stream.events import Event

# A change of state that no frame brings is told after so many seconds at the latest.
TICK_S: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class StreamResult:
    """What a stream says at one moment: of a frame, or of a new state without one.

    `prediction` is None where the state gives no label (`health.state` in stale, frozen, unusable,
    reconnecting). `events` are those that began or ended now. `time_s` is when the frame was read,
    or the state changed, in seconds since the epoch; `monotonic_s` the same by `time.monotonic()`.
    `age_ms` is how old the frame was when its prediction was there, `inference_ms` what of that
    preprocessing, inference and decision took. `damaged` counts the frames so far that arrived
    damaged and were not given.
    """

    health: Health
    time_s: float
    monotonic_s: float
    frame: Frame | None = None
    prediction: Prediction | None = None
    events: tuple[Event, ...] = ()
    age_ms: float | None = None
    inference_ms: float | None = None
    damaged: int = 0


class ClassifiedStream:
    """Iterates over what a stream shows: a result for each frame, and for each change of state.

    Examples:
        >>> with CameraStream("0") as frames:
        ...     for result in ClassifiedStream(frames, classifier):
        ...         print(result.health.state, result.prediction and result.prediction.label)

    """

    def __init__(self, frames: CameraStream, classifier: Classifier) -> None:
        self._frames = frames
        self._classifier = classifier
        self._health: Health | None = None

    def __iter__(self) -> Iterator[StreamResult]:
        while True:
            try:
                frame = self._frames.take(TICK_S)
            except TimeoutError:
                if self._frames.health != self._health:
                    yield self._without_frame()
            else:
                if frame is None:
                    return
                yield self._of(frame)

    def _without_frame(self) -> StreamResult:
        self._health = self._frames.health
        return StreamResult(
            health=self._health,
            time_s=time.time(),
            monotonic_s=time.monotonic(),
            damaged=self._frames.damaged,
        )

    def _of(self, frame: Frame) -> StreamResult:
        begin_s = time.monotonic()
        self._health = self._judge(frame)
        prediction = None
        if self._health.state in LABELLING:
            prediction = self._classifier(frame.image)
        end_s = time.monotonic()
        return StreamResult(
            health=self._health,
            time_s=frame.time_s,
            monotonic_s=frame.monotonic_s,
            frame=frame,
            prediction=prediction,
            age_ms=(end_s - frame.monotonic_s) * 1000,
            inference_ms=(end_s - begin_s) * 1000 if prediction else None,
            damaged=self._frames.damaged,
        )

    def _judge(self, frame: Frame) -> Health:
        """Return the state in which this frame finds the stream."""
        del frame
        return Health(state="running")
