"""Frames, timed step by step: what the process of one model does again and again."""

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import decide
from leansight.runtime.preprocessing import Image
from leansight.runtime.system.real_time import real_time

if TYPE_CHECKING:
    from leansight.benchmarks.probes.captured_frames import CapturedFrames

STEPS: Final = ("preprocess", "inference", "decision")
Times = tuple[int, int, int]
"""Of a frame: the three steps, nanoseconds of the wall's clock."""
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
        best = min(inference for _, inference, _ in times_ns)
        old = old + 1 if best * _STABLE > fastest else 0
        fastest = min(best, fastest)
    return frames


def run_once(classifier: Classifier, image: Image) -> Times:
    """Return the nanoseconds of preprocessing, inference and decision for one image.

    The wall's clock is read four times and nothing else is done: the processor's is the kernel's,
    and a call of the kernel makes what follows it slower (docs/decisions/0041).
    """
    clock = time.perf_counter_ns
    start = clock()
    batch = classifier.preprocessing(image)
    prepared = clock()
    logits = classifier.interpreter(batch)
    inferred = clock()
    given = decide(logits, classifier.labels, classifier.policy, task=classifier.task)
    decided = clock()
    if given.status == "invalid output":
        raise ValueError("the network returned a value that is not a finite number")
    return prepared - start, inferred - prepared, decided - inferred


def processor_ns(classifier: Classifier, image: Image) -> int:
    """Return what inference takes of the processor by this thread, behind the preprocessing.

    Other programs do not count, however long they keep the core.
    """
    batch = classifier.preprocessing(image)
    busy = time.thread_time_ns()
    classifier.interpreter(batch)
    return time.thread_time_ns() - busy


def clock_ns() -> int:
    """Return what reading the clock takes of a frame: the fastest of 200."""
    clock = time.perf_counter_ns
    fastest = sys.maxsize
    for _ in range(200):
        start = clock()
        for read in (clock, clock, clock):
            read()
        fastest = min(fastest, clock() - start)
    return fastest


def time_frames(classifier: Classifier, images: Sequence[Image]) -> list[Times]:
    """Return the times of each image."""
    with _untidied():
        return [run_once(classifier, image) for image in images]


def time_processor(
    classifier: Classifier, images: Sequence[Image], *, at_real_time: bool
) -> list[int]:
    """Return what the inference of each image takes of the processor, in nanoseconds.

    `at_real_time`: where the kernel allows it. A program that runs in between takes no time of this
    thread, but fills the caches, for which the next frame pays.
    """
    with _untidied(), real_time() if at_real_time else nullcontext():
        return [processor_ns(classifier, image) for image in images]


def time_captured(
    classifier: Classifier, captured: "CapturedFrames", frames: int
) -> tuple[list[tuple[int, ...]], Image]:
    """Capture and classify so many frames; return their times, capture first, and the last one."""
    times_ns = list[tuple[int, ...]]()
    with _untidied():
        for _ in range(frames):
            image, capture_ns = captured.read()
            times_ns.append((capture_ns, *run_once(classifier, image)))
    return times_ns, image


@contextmanager
def _untidied() -> Iterator[None]:
    """Collect garbage before, and none meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
