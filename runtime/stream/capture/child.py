"""The capture process: it opens one source and writes its frames into shared memory.

`ChildProcess` starts it. It imports numpy and what the source needs, and no interpreter. Its
standard input is the pickled `CaptureJob`. It ends with its parent.
"""

import itertools
import json
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from leansight.runtime.errors import DamagedFrameError, DataError, MissingExtraError, SourceError
from leansight.runtime.preprocessing import Image
from leansight.runtime.stream.capture.channel import Channel
from leansight.runtime.stream.capture.frame_slot import Frame, FrameSlot
from leansight.runtime.stream.sources.opencv import OpenCvSource
from leansight.runtime.stream.sources.source import Source
from leansight.runtime.system.parent import end_with

# What the process tells, each with a text:
# opening: it begins to open the source. away (reason): that failed, and is tried again.
# finite: the source has an end, and each frame waits until it is asked for.
# reading: a frame of a finite source was asked for. frame (number): it is in the slot.
# damaged (why): a frame was, and the next one is read.
# end: the finite source has ended. failed (reason): the process ends, another one may do better.
# No other process would do better: missing (JSON of the `remedy` of a MissingExtraError), broken
# (a package cannot be imported), hopeless.

# How long to wait before each new try at a lost source, in seconds; the last value repeats.
RETRY_DELAYS_S: Final = (0.1, 0.5, 1.0)
# After so many failures to open a source a new process tries: what leaks there ends with it.
_OPENINGS: Final = 100
# The part of its frames after which a finite source has ended, and is not broken off: some
# containers tell their duration only, from which the number of frames is an estimate.
_WHOLE: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class CaptureJob:
    """What to open, and whether it is live; None: it is, unless it has a number of frames."""

    name: str
    open: Callable[[], Source]
    live: bool | None


class _HopelessError(Exception):
    """No other process would do better."""


def main(parent: int, channel: int, slot: int) -> None:
    """Do the job from standard input, with the descriptors of the channel and of the slot."""
    if not end_with(parent):
        return
    told = Channel(channel)
    try:
        job = _read_job()
        source = _open(job, told)
        try:
            _copy_frames(source, job, told, FrameSlot(slot))
        finally:
            source.close()
    except MissingExtraError as error:
        told.tell("missing", json.dumps(error.remedy))
    except ImportError as error:
        told.tell("broken", str(error))
    except _HopelessError as error:
        told.tell("hopeless", str(error))
    except Exception as error:  # noqa: BLE001 -- the parent tells it
        told.tell("failed", f"{type(error).__name__}: {error}")


def _read_job() -> CaptureJob:
    try:
        job: CaptureJob = pickle.load(sys.stdin.buffer)
    except Exception as error:  # it imports the source's module: anything may be raised
        text = f"the source cannot be made in its own process: {type(error).__name__}: {error}"
        raise _HopelessError(text) from error
    return job


def _open(job: CaptureJob, told: Channel) -> Source:
    """Return the open source, however long it is away."""
    for tries in range(_OPENINGS):
        told.tell("opening")
        try:
            return job.open()
        except SourceError as error:
            told.tell("away", str(error))
        time.sleep(RETRY_DELAYS_S[min(tries, len(RETRY_DELAYS_S) - 1)])
    raise RuntimeError(f"{job.name} could not be opened {_OPENINGS} times")


def _copy_frames(source: Source, job: CaptureJob, told: Channel, slot: FrameSlot) -> None:
    """Write each frame into the slot until there are no more."""
    count = source.frame_count if isinstance(source, OpenCvSource) else None
    is_finite = job.live is False or (job.live is None and count is not None)
    if is_finite:
        told.tell("finite")
    for number in itertools.count(1):
        if is_finite:
            told.tell("reading")
        image = _read_whole(source, told)
        if image is None:
            break
        _check(image)
        slot.write(Frame(image=image, number=number, time_s=time.time()))
        told.tell("frame", str(number))
        if is_finite:
            told.wait_for_a_request()
    if not is_finite:
        told.tell("failed", "the source gave no more frames")
    elif number - 1 < _WHOLE * (count or 0):
        raise _HopelessError(f"{job.name} broke off after {number - 1} of {count} frames")
    else:
        told.tell("end")


def _read_whole(source: Source, told: Channel) -> Image | None:
    """Return the next frame that is not damaged."""
    while True:
        try:
            return source.read()
        except DamagedFrameError as error:
            told.tell("damaged", str(error))


def _check(image: Image) -> None:
    """Raise DataError for what is no (H, W, 3) uint8."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
        what = f"{getattr(image, 'shape', '')} {getattr(image, 'dtype', type(image).__name__)}"
        raise DataError(f"the source gave {what.strip()}, and not (H, W, 3) uint8")
