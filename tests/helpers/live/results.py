"""Results of a stream, made by hand."""

import time
from dataclasses import replace

from streams import numbered

from leansight.runtime.decision import Prediction
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.capture.health import Health, State
from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.events import Event


def prediction(label: str | None = "stop", score: float = 0.9, second: float = 0.05) -> Prediction:
    """Return that a picture shows the label, or, without one, that nothing is sure."""
    return Prediction(
        label=label,
        labels=(label,) if label else (),
        score=score,
        status="sure" if label else "not sure",
        top=((label or "stop", score), ("yield", second), ("children", 0.01)),
    )


def frame(number: int = 0) -> Frame:
    """Return a frame that shows its number."""
    return Frame(image=numbered(number), number=number, time_s=time.time())


def result(
    number: int = 0, label: str | None = "stop", score: float = 0.9, second: float = 0.05
) -> StreamResult:
    """Return what a running stream says of the frame with this number."""
    seen = frame(number)
    return StreamResult(
        health=Health(state="running"),
        time_s=seen.time_s,
        monotonic_s=seen.monotonic_s,
        frame=seen,
        prediction=prediction(label, score, second),
        age_ms=20.0,
        inference_ms=8.0,
    )


def change(state: State, reason: str) -> StreamResult:
    """Return a change of state that no frame brings."""
    health = Health(state=state, reason=reason)
    return StreamResult(health=health, time_s=time.time(), monotonic_s=time.monotonic())


def event(number: int, label: str = "stop", end_s: float | None = None) -> Event:
    """Return an event whose best picture shows its number."""
    best = frame(number)
    start_s = best.time_s - 1
    return Event(
        number=number, label=label, start_s=start_s, end_s=end_s, score=0.97, best=best, frames=9
    )


def with_event(number: int, end_s: float | None = None) -> StreamResult:
    """Return a result in which an event begins, or ends."""
    return replace(result(number), events=(event(number, end_s=end_s),))
