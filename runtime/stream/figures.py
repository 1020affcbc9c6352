"""What a stream has done so far, in figures: counts, shares, times."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final

from leansight.runtime.stream.capture.health import LABELLING, Health
from leansight.runtime.stream.classified_stream import StreamResult

RATE_OVER_S: Final = 5.0
SHARE_OVER: Final = 1000  # predictions
_TIMES_OVER: Final = 100  # frames
# A stream that works tells something each two seconds: this long without a result, it hangs.
HANGING_AFTER_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A stream at one moment.

    `in_state_s` is how long the state has lasted, `since_frame_s` how long ago the last frame was
    seen, in seconds; None before the first. `not_sure_share` (0 to 1) is of the last
    1000 predictions, `frames_per_s` of the last five seconds; `age_ms` and `inference_ms` are
    the medians of the last 100 frames. `last` is the last result that has a frame.
    """

    health: Health
    in_state_s: float
    since_frame_s: float | None
    last: StreamResult | None
    frames: int
    frames_per_s: float
    not_sure_share: float | None
    age_ms: float | None
    inference_ms: float | None
    damaged: int
    reconnects: int

    @property
    def is_healthy(self) -> bool:
        """Whether labels are given, and were a moment ago."""
        return self.health.state in LABELLING


class StreamFigures:
    """Counts what a stream shows, result by result; other threads may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._health = Health(state="reconnecting", reason="waiting for the first frame")
        self._changed_s = self._heard_s = time.monotonic()
        self._last: StreamResult | None = None
        self._frames = self._reconnects = self._damaged = 0
        self._seen_s: deque[float] = deque(maxlen=1000)
        self._not_sure: deque[bool] = deque(maxlen=SHARE_OVER)
        self._ages_ms: deque[float] = deque(maxlen=_TIMES_OVER)
        self._inferences_ms: deque[float] = deque(maxlen=_TIMES_OVER)

    def add(self, result: StreamResult) -> None:
        """Count one result."""
        with self._lock:
            self._heard_s = time.monotonic()
            if result.health.state != self._health.state:
                self._changed_s = self._heard_s
                self._reconnects += result.health.state == "reconnecting"
            self._health = result.health
            self._damaged = result.damaged
            if result.frame is not None:
                self._add_frame(result)

    @property
    def last(self) -> StreamResult | None:
        """The last result that has a frame."""
        return self._last

    def now(self) -> Figures:
        """Return the figures of this moment."""
        with self._lock:
            now_s = time.monotonic()
            return Figures(
                health=self._health_at(now_s),
                in_state_s=now_s - self._changed_s,
                since_frame_s=now_s - self._seen_s[-1] if self._seen_s else None,
                last=self._last,
                frames=self._frames,
                frames_per_s=self._rate(now_s),
                not_sure_share=_mean(self._not_sure),
                age_ms=_median(self._ages_ms),
                inference_ms=_median(self._inferences_ms),
                damaged=self._damaged,
                reconnects=self._reconnects,
            )

    def _add_frame(self, result: StreamResult) -> None:
        self._last = result
        self._frames += 1
        self._seen_s.append(self._heard_s)
        if result.age_ms is not None:
            self._ages_ms.append(result.age_ms)
        if result.inference_ms is not None:
            self._inferences_ms.append(result.inference_ms)
        if result.prediction is not None:
            self._not_sure.append(result.prediction.status == "not sure")

    def _health_at(self, now_s: float) -> Health:
        """Return the last health heard of; where nothing is heard any more, that it hangs."""
        silent_s = now_s - self._heard_s
        if self._health.state not in LABELLING or silent_s < HANGING_AFTER_S:
            return self._health
        return Health(state="stale", reason=f"no result for {silent_s:.0f} s")

    def _rate(self, now_s: float) -> float:
        recent = sum(now_s - seen_s < RATE_OVER_S for seen_s in self._seen_s)
        if recent < len(self._seen_s) or recent <= 1:
            return recent / RATE_OVER_S
        return (recent - 1) / max(now_s - self._seen_s[0], 1e-3)  # begun a moment ago, or very fast


def _mean(values: deque[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _median(values: deque[float]) -> float | None:
    return median(values) if values else None
