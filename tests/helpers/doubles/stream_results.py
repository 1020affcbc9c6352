"""Results of a stream, made by hand."""

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.decision import Prediction
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.capture.health import Health, State
from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.events import Event

Picture = NDArray[np.uint8]
GRAY = np.full((48, 64, 3), 100, np.uint8)


def frame_of(number: int = 0, image: Picture = GRAY, at_s: float = 0.0) -> Frame:
    return Frame(image=image, number=number, time_s=1000 + at_s, monotonic_s=at_s)


def seen(
    label: str | None = "stop",
    *,
    at_s: float = 0.0,
    image: Picture = GRAY,
    events: tuple[Event, ...] = (),
    score: float = 0.98,
) -> StreamResult:
    """Return what a running stream says of a frame; of no label: it is not sure."""
    prediction = Prediction(
        label=label,
        labels=(label,) if label else (),
        score=score,
        status="sure" if label else "not sure",
        top=((label or "stop", score),),
    )
    return StreamResult(
        health=Health(state="running"),
        time_s=1000 + at_s,
        monotonic_s=at_s,
        frame=frame_of(round(at_s * 10), image, at_s),
        prediction=prediction,
        events=events,
        age_ms=4.0,
        inference_ms=3.0,
    )


def unlabelled(
    state: State, reason: str = "", *, at_s: float = 0.0, image: Picture | None = None
) -> StreamResult:
    """Return what a stream says in a state without labels; by default it has no frame."""
    return StreamResult(
        health=Health(state=state, reason=reason),
        time_s=1000 + at_s,
        monotonic_s=at_s,
        frame=None if image is None else frame_of(round(at_s * 10), image, at_s),
    )


def event(number: int = 1, label: str = "stop", end_s: float | None = None) -> Event:
    return Event(
        number=number,
        label=label,
        start_s=1000.0,
        end_s=end_s,
        score=0.98,
        best=frame_of(),
        frames=3,
    )
