"""Shared memory that holds one frame: the newest wins, and none is read half-written."""

import math
import mmap
import os
import struct
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Self

import numpy as np

from leansight.runtime.preprocessing import Image
from leansight.runtime.system.shared_memory import locked, locked_at_once, new_memory

# Number of the frame (0 while there is none, or one is being written), height, width, the times
# when it was read: monotonic and since the epoch, and its position in its file (NaN: none), in
# seconds.
_HEADER: Final = struct.Struct("<QIIddd")
_PIXELS_AT: Final = mmap.PAGESIZE


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture: `image` (H, W, 3) uint8 BGR, `number` counted from 0 at the source.

    A gap in the numbers is frames that a newer one replaced. `time_s` is when it was read, in
    seconds since the epoch; `monotonic_s` is the same moment by `time.monotonic()`, which no
    change of the clock moves. `position_s` is where it stands in its file, in seconds; None of
    a live source, and of images to which no rate was given.
    """

    image: Image
    number: int
    time_s: float
    monotonic_s: float = field(default_factory=monotonic)
    position_s: float | None = None


class FrameSlot:
    """Memory that two processes share by its descriptor; it has no name, so none is left behind.

    A writer that is killed leaves no lock, and the number 0 in the place of half a frame.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, 0)

    @classmethod
    def create(cls) -> Self:
        """Return an empty slot."""
        return cls(new_memory("leansight-frame", _PIXELS_AT))

    def close(self) -> None:
        """Let go of the memory; the kernel frees it after the last process."""
        self._memory.close()
        os.close(self.descriptor)

    def write(self, frame: Frame) -> None:
        """Replace the frame; its number here is counted from 1."""
        end = _PIXELS_AT + frame.image.nbytes
        if end > os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, end)
        self._map_all()
        height, width = frame.image.shape[:2]
        position_s = math.nan if frame.position_s is None else frame.position_s
        times = frame.monotonic_s, frame.time_s, position_s
        with locked(self.descriptor):
            _HEADER.pack_into(self._memory, 0, 0, height, width, *times)
            self._pixels(height, width)[:] = frame.image
            _HEADER.pack_into(self._memory, 0, frame.number, height, width, *times)

    def read(self) -> Frame | None:
        """Return a copy of the frame; None while there is none, or a newer one is being written."""
        self._map_all()
        with locked_at_once(self.descriptor) as is_locked:
            number, height, width, *times = _HEADER.unpack_from(self._memory)
            is_mapped = _PIXELS_AT + height * width * 3 <= len(self._memory)
            if not (is_locked and number and is_mapped):
                return None
            image = self._pixels(height, width).copy()
        monotonic_s, time_s, position_s = times
        return Frame(
            image=image,
            number=number,
            monotonic_s=monotonic_s,
            time_s=time_s,
            position_s=None if math.isnan(position_s) else position_s,
        )

    def _pixels(self, height: int, width: int) -> Image:
        size = height * width * 3
        return np.frombuffer(self._memory, np.uint8, size, _PIXELS_AT).reshape(height, width, 3)

    def _map_all(self) -> None:
        """Map what the writer has added. Not under the lock: a mapping that closes releases it."""
        if os.fstat(self.descriptor).st_size > len(self._memory):
            self._memory.close()
            self._memory = mmap.mmap(self.descriptor, 0)
