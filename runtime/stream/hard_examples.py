"""Stores the frames that the classifier was in doubt about, for people to label."""

import json
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import Prediction
from leansight.runtime.errors import LeansightError
from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.hard_example_folder import HardExampleFolder
from leansight.runtime.stream.jpeg import encode_jpeg
from leansight.runtime.system.whole_files import write_whole

_QUALITY: Final = 95
# Frames that wait to be written; where a card is slower than that, others are dropped.
_MOST_WAITING: Final = 2
_CLOSE_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class HardExampleLimits:
    """Which frames are stored, and how much of them.

    A frame is stored that was "not sure", or whose best label leads the second by less than
    `margin` (0 to 1), at most one each `interval_s` seconds. Of more than `most_bytes` those of
    the least doubt are removed, and what is older than `most_days`.
    """

    margin: float = 0.2
    interval_s: float = 5.0
    most_bytes: int = 200_000_000
    most_days: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1:
            raise ValueError(f"margin must be from 0 to 1, not {self.margin}")
        if self.interval_s < 0 or self.most_bytes <= 0 or self.most_days <= 0:
            raise ValueError("interval_s must be 0 or more, most_bytes and most_days above 0")


class HardExamples:
    """An `Output` that stores doubtful frames in a folder, each as JPEG with its scores as JSON.

    The thread of the stream only chooses; encoding and writing are another thread's. `stored` and
    `dropped` count frames. While nothing can be written, as on a full disk, that is the trouble,
    and each frame is tried anew.
    """

    def __init__(
        self, folder: Path, bundle: Bundle, limits: HardExampleLimits | None = None
    ) -> None:
        """Make the folder, and store there from now on.

        Raises:
            LeansightError: nothing can be written there.
            MissingExtraError: nothing is installed that writes JPEG.

        """
        self._folder = folder
        self._limits = limits or HardExampleLimits()
        self._bundle = {"bundle": bundle.name, "digest": bundle.digest}
        self._waiting: queue.Queue[StreamResult | None] = queue.Queue(_MOST_WAITING)
        self._last_s = float("-inf")
        self._trouble = ""
        self.stored = self.dropped = 0
        _begin(folder, bundle)
        self._thread = threading.Thread(
            target=self._store_all, name="leansight-hard-examples", daemon=True
        )
        self._thread.start()

    @property
    def trouble(self) -> str:
        """See `Output`."""
        return self._trouble

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        if not self._is_wanted(result):
            return
        self._last_s = result.monotonic_s
        try:
            self._waiting.put_nowait(result)
        except queue.Full:
            self.dropped += 1
            self._trouble = f"the disk is too slow: {self.dropped} pictures were dropped"

    def close(self) -> None:
        """See `Output`; what waits is stored, if the disk is quick enough."""
        try:
            self._waiting.put(None, timeout=_CLOSE_S)
        except queue.Full:
            self.dropped += self._waiting.qsize()
            self._waiting = queue.Queue()
            self._waiting.put(None)
        self._thread.join(_CLOSE_S)

    def _is_wanted(self, result: StreamResult) -> bool:
        prediction = result.prediction
        if prediction is None or result.monotonic_s - self._last_s < self._limits.interval_s:
            return False
        return prediction.status == "not sure" or doubt_of(prediction) > 1 - self._limits.margin

    def _store_all(self) -> None:
        folder = None
        while (result := self._waiting.get()) is not None:
            try:
                folder = folder or HardExampleFolder(
                    self._folder,
                    most_bytes=self._limits.most_bytes,
                    most_days=self._limits.most_days,
                )
                self._store(folder, result)
                self._trouble = ""
            except OSError as error:
                self.dropped += 1
                self._trouble = (error.strerror or str(error)).lower()

    def _store(self, folder: HardExampleFolder, result: StreamResult) -> None:
        assert result.frame is not None
        assert result.prediction is not None
        jpeg = encode_jpeg(result.frame.image, quality=_QUALITY)
        record = {"time": result.time_s, **self._bundle, **result.prediction.to_dict()}
        doubt = doubt_of(result.prediction)
        self.stored += folder.add(jpeg, record, doubt=doubt, time_s=result.time_s)


def doubt_of(prediction: Prediction) -> float:
    """Return from 0 to 1 how much in doubt a prediction is.

    With one label an image it is 1 less the margin of the best label over the second (Settles,
    "Active Learning Literature Survey", 2009); with many, that of the label nearest to one half.
    """
    scores = [score for _, score in prediction.top] or [prediction.score]
    if prediction.task == "multilabel":
        return max(1 - abs(2 * score - 1) for score in scores)
    return 1 - (scores[0] - (scores[1] if len(scores) > 1 else 0))


def _begin(folder: Path, bundle: Bundle) -> None:
    """Make the folder, with the labels that can be given to its pictures."""
    encode_jpeg(np.zeros((8, 8, 3), np.uint8))  # raises now if nothing can
    values = {
        "bundle": bundle.name,
        "digest": bundle.digest,
        "task": bundle.task,
        "labels": list(bundle.labels),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"bundle-{bundle.digest[:12]}.json"
        write_whole(folder / name, (json.dumps(values, indent=2) + "\n").encode())
    except OSError as error:
        raise LeansightError(
            f"{folder} cannot be written: {(error.strerror or str(error)).lower()}",
            parameter="hard_examples",
        ) from error
