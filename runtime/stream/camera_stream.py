"""Frames from a camera, a video file or a network stream; of a live source, the newest."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from leansight.runtime.errors import SourceError
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.sources import OpenCvSource, Source

# How long to wait before each new try at a lost source; the last value repeats.
RETRY_DELAYS_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# How long closing a stream waits for a read that hangs, such as of a server gone silent.
CLOSE_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture: `image` (H, W, 3) uint8 BGR, `number` counted from 0 at the source.

    A gap in the numbers is frames that a newer one replaced. `time_s` is when it was read, in
    seconds since the epoch.
    """

    image: Image
    number: int
    time_s: float


class CameraStream:
    """Iterates over the frames of a source, as a context manager.

    A camera or network stream is live: a thread keeps reading it, the newest frame wins, and a
    source that is lost is opened again. A file is read frame by frame and ends.

    Examples:
        >>> with CameraStream("0") as frames:
        ...     for frame in frames:
        ...         print(classifier(frame.image))

    """

    def __init__(
        self,
        source: str | Callable[[], Source],
        *,
        live: bool | None = None,
        give_up_after_s: float = float("inf"),
    ) -> None:
        """Open `source`: a camera's number, a file, a URL, or a function that opens one.

        Args:
            source: "0", "drive.mp4", "http://…", or such as `open_picamera2`.
            live: by default everything but a file is live.
            give_up_after_s: how long a lost live source is tried again, in seconds.

        Raises:
            SourceError: it cannot be opened.
            MissingExtraError: OpenCV (or picamera2) is not installed.

        """
        if isinstance(source, str):
            self._name = source
            self._open: Callable[[], Source] = lambda: OpenCvSource(source)
            self.live = not Path(source).is_file() if live is None else live
        else:
            self._name = getattr(source, "__name__", "the source")
            self._open = source
            self.live = True if live is None else live
        self._give_up_after_s = give_up_after_s
        self._source = self._open()
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._newest: Frame | None = None
        self._error: Exception | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._keep_newest, daemon=True)
        if self.live:
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading and release the source."""
        self._stopping.set()
        if self.live:
            self._thread.join(CLOSE_TIMEOUT_S)  # it releases the source: not under its own read
        else:
            self._source.close()

    def __iter__(self) -> Iterator[Frame]:
        return self._newest_frames() if self.live else self._every_frame()

    def _every_frame(self) -> Iterator[Frame]:
        while (image := self._source.read()) is not None:
            yield Frame(image=image, number=next(self._numbers), time_s=time.time())

    def _newest_frames(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ended)
                frame, self._newest = self._newest, None
            if frame is not None:
                yield frame
            elif self._error is not None:
                raise self._error
            else:
                return

    def _keep_newest(self) -> None:
        """Read the live source until the stream is closed or the source is lost for good."""
        tries = 0
        lost_at = 0.0
        try:
            while not self._stopping.is_set():
                image = self._source.read()
                if image is None:
                    lost_at = lost_at if tries else time.monotonic()
                    tries = self._reopen(lost_at, tries)
                    continue
                tries = 0  # only a frame ends the loss: a source may open and give nothing
                frame = Frame(image=image, number=next(self._numbers), time_s=time.time())
                with self._changed:
                    self._newest = frame
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 -- raised again where the frames are read
            self._error = error
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _reopen(self, lost_at: float, tries: int) -> int:
        """Open the lost source again; return how many tries there were since it was lost."""
        self._source.close()
        while True:
            left_s = lost_at + self._give_up_after_s - time.monotonic()
            if left_s <= 0:
                raise SourceError(f"{self._name} was lost and did not come back")
            delay_s = RETRY_DELAYS_S[min(tries, len(RETRY_DELAYS_S) - 1)]
            if self._stopping.wait(min(delay_s, left_s)):
                return tries
            tries += 1
            try:
                self._source = self._open()
            except SourceError:
                continue  # still away: the next try waits longer
            return tries
