"""What a stream shows, frame by frame: a label, "not sure", or why nothing can be said."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import Prediction
from leansight.runtime.errors import InferenceError
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.capture.health import LABELLING, Health
from leansight.runtime.stream.drift import Drift, DriftMonitor
from leansight.runtime.stream.events import Event, EventDetector, Smoothing
from leansight.runtime.stream.frozen import FrozenPicture
from leansight.runtime.stream.isolated_classifier import IsolatedClassifier
from leansight.runtime.stream.visibility import REASONS, find_fault
from leansight.runtime.system.board import Board, read_board

# A live source whose frames are all equal for so long is frozen, and is opened again: at first,
# then after twice the time, up to the second value.
FROZEN_AFTER_S: Final = 5.0
_LONGEST_REOPEN_S: Final = 300.0
# How often the board is asked for its temperature.
_BOARD_EVERY_S: Final = 5.0
# A change of state that no frame brings is told after so many seconds at the latest.
TICK_S: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class StreamResult:
    """What a stream says at one moment: of a frame, or of a new state without one.

    `prediction` is None where the state gives no label (`health.state` in stale, frozen, unusable,
    reconnecting). `events` are those that began or ended now; those that last
    at the end of the stream end in a last result. `time_s` is when the frame was read,
    or the state changed, in seconds since the epoch; `monotonic_s` the same by `time.monotonic()`.
    `age_ms` is how old the frame was when its prediction was there, `inference_ms` what of that
    preprocessing, inference and decision took. `damaged` counts the frames so far that arrived
    damaged and were not given. `drift` compares the stream of late with the validation images.
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
    drift: Drift | None = None

    @property
    def gives_labels(self) -> bool:
        """Whether the model has answered, also by "not sure", and in valid numbers."""
        return self.prediction is not None and self.prediction.status != "invalid output"


class ClassifiedStream:
    """Iterates over what a stream shows: a result for each frame, and for each change of state.

    Examples:
        >>> with CameraStream("0") as frames:
        ...     for result in ClassifiedStream(frames, classifier):
        ...         print(result.health.state, result.prediction and result.prediction.label)

    """

    def __init__(
        self,
        frames: CameraStream,
        classifier: Classifier | IsolatedClassifier,
        *,
        smoothing: Smoothing | None = None,
        drift: DriftMonitor | None = None,
    ) -> None:
        """Classify `frames`; `smoothing` says when labels make an event, `drift` warns of drift."""
        self._drift = drift
        self._frames = frames
        self._events = EventDetector(smoothing or Smoothing())
        self._classifier = classifier
        self._frozen = FrozenPicture()
        self._reopen_at_s = FROZEN_AFTER_S
        self._board = Board(temperature_c=None, troubles=())
        self._board_at_s = -math.inf

    def __iter__(self) -> Iterator[StreamResult]:
        while True:
            try:
                frame = self._frames.take(TICK_S)
            except TimeoutError:
                yield from self._news()
            else:
                yield from self._news()
                if frame is None:
                    break
                yield self._of(frame)
        if events := self._events.end():
            yield self._without_frame(self._frames.health, events)

    def _news(self) -> Iterator[StreamResult]:
        """Yield a result without a frame for each change of state that a frame does not bring."""
        for health in self._frames.take_news():
            if health.state not in LABELLING:
                yield self._without_frame(health, self._events.end())

    def _without_frame(self, health: Health, events: tuple[Event, ...]) -> StreamResult:
        return StreamResult(
            health=health,
            time_s=time.time(),
            monotonic_s=time.monotonic(),
            events=events,
            damaged=self._frames.damaged,
        )

    def _of(self, frame: Frame) -> StreamResult:
        begin_s = time.monotonic()
        health = self._judge(frame)
        prediction: Prediction | None = None
        events: tuple[Event, ...] = ()
        if health.state not in LABELLING:
            events = self._events.end()
        else:
            try:
                prediction = self._classifier(frame.image)
                events = self._events.see(frame, prediction)
                if self._drift:
                    self._drift.add(frame, prediction, events)
            except InferenceError as error:
                health = Health(state="degraded", reason=str(error))
        end_s = time.monotonic()
        return StreamResult(
            health=health,
            time_s=frame.time_s,
            monotonic_s=frame.monotonic_s,
            frame=frame,
            prediction=prediction,
            events=events,
            age_ms=(end_s - frame.monotonic_s) * 1000,
            inference_ms=(end_s - begin_s) * 1000 if prediction else None,
            damaged=self._frames.damaged,
            drift=self._drift.now if self._drift else None,
        )

    def _judge(self, frame: Frame) -> Health:
        """Return the state in which this frame finds the stream."""
        if self._frames.live and (reason := self._frozen_reason(frame)):
            return Health(state="frozen", reason=reason)
        if fault := find_fault(frame.image):
            return Health(state="unusable", reason=REASONS[fault])
        if frame.monotonic_s - self._board_at_s >= _BOARD_EVERY_S:
            self._board, self._board_at_s = read_board(), frame.monotonic_s
        troubles = list(self._board.troubles)
        if isinstance(self._classifier, IsolatedClassifier) and self._classifier.fallback_reason:
            bundle = self._classifier.bundle.path
            troubles.append(f"{bundle} is used, as {self._classifier.fallback_reason}")
        if self._drift and self._drift.now:
            troubles += self._drift.now.warnings
        return Health(state="degraded" if troubles else "running", reason="; ".join(troubles))

    def _frozen_reason(self, frame: Frame) -> str:
        """Return why the camera is taken for frozen, "" where it is not; have it opened again."""
        equal_s = self._frozen.equal_s(frame)
        if equal_s < FROZEN_AFTER_S:
            self._reopen_at_s = FROZEN_AFTER_S
            return ""
        reason = f"all frames are equal since {FROZEN_AFTER_S:g} s"
        if equal_s >= self._reopen_at_s:
            self._reopen_at_s = equal_s + min(self._reopen_at_s, _LONGEST_REOPEN_S)
            self._frames.reopen(reason)
        return reason
