"""Frames, timed step by step: what the process of one model does again and again."""

import gc
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import decide
from leansight.runtime.preprocessing import Image

if TYPE_CHECKING:
    from leansight.benchmarks.probes.captured_frames import CapturedFrames

STEPS: Final = ("preprocess", "inference", "decision")
TIMES: Final = (*STEPS, "processor")
# Of a frame: the three steps on the wall's clock, inference on the processor's (nanoseconds).
Times = tuple[int, int, int, int]
UNTIMED: Final = 2  # frames before a block: the caches are another model's
_WARM_UP_FRAMES: Final = 10
_STABLE_BLOCKS: Final = 2
_STABLE: Final = 1.02  # a block that is not faster than this shows no more warming up


def warm_up(classifier: Classifier, images: Sequence[Image], limit_s: float) -> int:
    """Classify until the fastest frame of a block is no news twice in a row; return the frames."""
    end, fastest, old, frames = time.monotonic() + limit_s, sys.maxsize, 0, 0
    while old < _STABLE_BLOCKS and time.monotonic() < end:
        times_ns = time_frames(classifier, [images[0]] * _WARM_UP_FRAMES)
        frames += len(times_ns)
        best = min(inference for _, inference, _, _ in times_ns)
        old = old + 1 if best * _STABLE > fastest else 0
        fastest = min(best, fastest)
    return frames


def run_once(classifier: Classifier, image: Image) -> Times:
    """Return the nanoseconds of preprocessing, inference and decision for one image.

    The fourth is what inference took of the processor by this thread: other programs do not
    count, however long they keep the core.
    """
    clock, processor_clock = time.perf_counter_ns, time.thread_time_ns
    start = clock()
    batch = classifier.preprocessing(image)
    prepared = clock()
    busy = processor_clock()
    began = clock()
    logits = classifier.interpreter(batch)
    inferred = clock()
    busy = processor_clock() - busy
    deciding = clock()
    given = decide(logits, classifier.labels, classifier.policy, task=classifier.task)
    decided = clock()
    if given.status == "invalid output":
        raise ValueError("the network returned a value that is not a finite number")
    return prepared - start, inferred - began, decided - deciding, busy


def clock_ns() -> int:
    """Return what reading the clocks takes of a frame: the fastest of 200."""
    clock, processor_clock = time.perf_counter_ns, time.thread_time_ns
    fastest = sys.maxsize
    for _ in range(200):
        start = clock()
        for read in (clock, clock, processor_clock, clock, clock, processor_clock, clock):
            read()
        fastest = min(fastest, clock() - start)
    return fastest


def time_frames(classifier: Classifier, images: Sequence[Image]) -> list[Times]:
    """Return the times of each image, between which nothing is tidied up."""
    gc.collect()
    gc.disable()
    try:
        return [run_once(classifier, image) for image in images]
    finally:
        gc.enable()


def time_captured(
    classifier: Classifier, captured: "CapturedFrames", frames: int
) -> list[tuple[int, ...]]:
    """Capture and classify so many frames; return their times, capture first."""
    gc.collect()
    gc.disable()
    try:
        times_ns = list[tuple[int, ...]]()
        for _ in range(frames):
            image, capture_ns = captured.read()
            times_ns.append((capture_ns, *run_once(classifier, image)))
        return times_ns
    finally:
        gc.enable()
