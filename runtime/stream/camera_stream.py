"""Frames from a camera, a video file or a network stream; of a live source, the newest."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from leansight.runtime.errors import DamagedFrameError
from leansight.runtime.stream.capture.frame_reader import FrameReader
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.capture.health import Health, OnState
from leansight.runtime.stream.capture.supervisor import Patience, Supervisor
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.runtime.stream.sources.source import Source
from leansight.runtime.stream.sources.spec import spec_of


class CameraStream:
    """Iterates over the frames of a source, as a context manager.

    A camera or network stream is live: a process of its own reads it, the newest frame wins, and
    a source that is late, lost or hanging is opened again. A file is read frame by frame and ends,
    and so is a folder of images and a finite video behind a URL.

    Examples:
        >>> with CameraStream("0") as frames:
        ...     for frame in frames:
        ...         print(classifier(frame.image))

    """

    def __init__(
        self,
        source: str | Callable[[], Source],
        *,
        options: SourceOptions | None = None,
        live: bool | None = None,
        give_up_after_s: float = float("inf"),
        stale_after_s: float = 2.0,
        on_state: OnState | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        """Open `source`.

        Args:
            source: a camera's number or path ("0", "/dev/video0"), "picamera2", a video file,
                a folder of images or a pattern of numbered ones ("frames/%04d.jpg"), a URL,
                "gst:" and a GStreamer pipeline, "-" for standard input, or a function that opens
                a `Source`: it is called in the capture process, each time that the source is
                opened there.
            options: what is asked of the source; which way up and which part of it is given.
            live: by default everything but files, and a video whose end is known, is live.
            give_up_after_s: how long a lost live source is tried again, and one that is not there
                at the start, in seconds.
            stale_after_s: how long a live source may give no frame, in seconds, until it is taken
                for lost.
            on_state: called with each new state ("running", "stale", "reconnecting") and its
                reason, in another thread; what it raises ends the stream.
            on_notice: called in the same way with what a camera does otherwise than it was asked
                to, each time that it is opened; without it that is logged as a warning.

        Raises:
            SourceError: the file is not there, or cannot be opened; at the first frame: the
                source was not there, or lost, for `give_up_after_s`.
            SourceOptionError: the source cannot have an option; of a region, at the first frame.
            MissingExtraError: OpenCV (or picamera2) is not installed; of a live source this is
                raised at the first frame.
            ValueError: the function cannot be handed to another process.

        """
        spec = spec_of(source, options or SourceOptions())
        if live is not None:
            spec = replace(spec, live=live)
        self._live = spec.live is not False
        self._reader: FrameReader | None = None
        self._supervisor: Supervisor | None = None
        self._damaged = 0
        if spec.is_local and not self._live:
            self._reader = FrameReader(spec)
            return
        patience = Patience(stale_after_s=stale_after_s, give_up_after_s=give_up_after_s)
        self._supervisor = Supervisor(spec, patience, on_state, on_notice)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def live(self) -> bool:
        """Whether the newest frame wins; of a URL it is known from the first frame on."""
        return self._live and not (self._supervisor and self._supervisor.newest.is_finite)

    @property
    def health(self) -> Health:
        """The state of the stream now, and its reason."""
        return self._supervisor.health if self._supervisor else Health(state="running")

    def take_news(self) -> Iterator[Health]:
        """Yield the states that the stream was in since the last call, however short."""
        while self._supervisor and self._supervisor.news:
            yield self._supervisor.news.popleft()

    @property
    def damaged(self) -> int:
        """How many frames arrived damaged; they were not given."""
        return self._supervisor.damaged if self._supervisor else self._damaged

    def reopen(self, reason: str) -> None:
        """Have a live source opened again by a new process; the reason is a line for people."""
        if self._supervisor and self.live:
            self._supervisor.reopen(reason)

    def close(self) -> None:
        """Stop reading and release the source, within two seconds."""
        if self._supervisor:
            self._supervisor.close()
        if self._reader:
            self._reader.close()

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self.take()) is not None:
            yield frame

    def take(self, timeout_s: float | None = None) -> Frame | None:
        """Wait for the next frame and return it; None when the stream has ended.

        Raises:
            TimeoutError: there was none in so many seconds; `health` says why.
            SourceError, MissingExtraError, ...: what iterating raises.

        """
        return self._supervisor.newest.take(timeout_s) if self._supervisor else self._read()

    def _read(self) -> Frame | None:
        assert self._reader is not None
        while True:
            try:
                return self._reader.read()
            except DamagedFrameError:
                self._damaged += 1
