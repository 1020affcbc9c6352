"""The capture process: it opens one source and writes its frames into shared memory.

`ChildProcess` starts it. It imports numpy and what the source needs, and no interpreter. Its
standard input is the pickled `SourceSpec`. It ends with its parent.
"""

import json
import pickle
import sys
import time
from typing import Final

from leansight.runtime.errors import (
    DamagedFrameError,
    DataError,
    MissingExtraError,
    SourceError,
    SourceOptionError,
)
from leansight.runtime.stream.capture.channel import Channel
from leansight.runtime.stream.capture.frame_reader import FrameReader
from leansight.runtime.stream.capture.frame_slot import Frame, FrameSlot
from leansight.runtime.stream.sources.spec import SourceSpec
from leansight.runtime.system.parent import end_with

# What the process tells, each with a text:
# opening: it begins to open the source. away (reason): that failed, and is tried again.
# notice (text): what the source does otherwise than it was asked to.
# finite: the source has an end, and each frame waits until it is asked for.
# reading: a frame of a finite source was asked for. frame (number): it is in the slot.
# damaged (why): a frame was, and the next one is read.
# end: the finite source has ended. failed (reason): the process ends, another one may do better.
# No other process would do better: missing (JSON of the `remedy` of a MissingExtraError), broken
# (a package cannot be imported), option (the source cannot be had as was asked), hopeless.

# How long to wait before each new try at a lost source, in seconds; the last value repeats.
RETRY_DELAYS_S: Final = (0.1, 0.5, 1.0)
# After so many failures to open a source a new process tries: what leaks there ends with it.
_OPENINGS: Final = 100
# The part of its frames after which a finite source has ended, and is not broken off: some
# containers tell their duration only, from which the number of frames is an estimate.
_WHOLE: Final = 0.9


class _HopelessError(Exception):
    """No other process would do better."""


def main(parent: int, channel: int, slot: int) -> None:
    """Do the job from standard input, with the descriptors of the channel and of the slot."""
    if not end_with(parent):
        return
    told = Channel(channel)
    try:
        spec = _read_job()
        reader = _open(spec, told)
        try:
            _copy_frames(reader, spec, told, FrameSlot(slot))
        except DataError as error:
            if spec.descriptor is None:
                raise
            raise _HopelessError(str(error)) from error  # others would begin in its midst
        finally:
            reader.close()
    except MissingExtraError as error:
        told.tell("missing", json.dumps(error.remedy))
    except ImportError as error:
        told.tell("broken", str(error))
    except SourceOptionError as error:
        told.tell("option", str(error))
    except _HopelessError as error:
        told.tell("hopeless", str(error))
    except SourceError as error:
        told.tell("failed", str(error))
    except Exception as error:  # noqa: BLE001 -- the parent tells it
        told.tell("failed", f"{type(error).__name__}: {error}")


def _read_job() -> SourceSpec:
    try:
        spec: SourceSpec = pickle.load(sys.stdin.buffer)
    except Exception as error:  # it imports the source's module: anything may be raised
        text = f"the source cannot be made in its own process: {type(error).__name__}: {error}"
        raise _HopelessError(text) from error
    return spec


def _open(spec: SourceSpec, told: Channel) -> FrameReader:
    """Return the open source, however long it is away."""
    for tries in range(_OPENINGS):
        told.tell("opening")
        try:
            return FrameReader(spec, first_number=1)
        except SourceOptionError:
            raise
        except SourceError as error:
            told.tell("away", str(error))
        time.sleep(RETRY_DELAYS_S[min(tries, len(RETRY_DELAYS_S) - 1)])
    raise RuntimeError(f"{spec.name} could not be opened {_OPENINGS} times")


def _copy_frames(reader: FrameReader, spec: SourceSpec, told: Channel, slot: FrameSlot) -> None:
    """Write each frame into the slot until there are no more."""
    is_finite = spec.live is False or (spec.live is None and reader.frame_count is not None)
    if reader.notice:
        told.tell("notice", reader.notice)
    if is_finite:
        told.tell("finite")
        told.tell("reading")
    while (frame := _read_whole(reader, told)) is not None:
        slot.write(frame)
        told.tell("frame", str(frame.number))
        if is_finite:
            told.wait_for_a_request()
            told.tell("reading")
    if is_finite and reader.frames_read < _WHOLE * (reader.frame_count or 0):
        whole = f"{reader.frames_read} of {reader.frame_count}"
        raise _HopelessError(f"{spec.name} broke off after {whole} frames")
    if is_finite or spec.descriptor is not None:
        told.tell("end")
    else:
        told.tell("failed", "the source gave no more frames")


def _read_whole(reader: FrameReader, told: Channel) -> Frame | None:
    """Return the next frame that is not damaged."""
    while True:
        try:
            return reader.read()
        except DamagedFrameError as error:
            told.tell("damaged", str(error))
