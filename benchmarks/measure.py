"""Measure models, each in a process of its own, in short blocks of frames that alternate.

Every model is launched several times; between two launches of the processes, models take turns
in rounds of a block each. So a slow second of the machine hits all of them, and neighbouring
blocks make pairs whose ratio it leaves alone (docs/decisions/0035).
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from leansight.benchmarks.machines import Launch, Machine, ThisMachine
from leansight.benchmarks.models import Model
from leansight.benchmarks.peaks import measure_peaks
from leansight.benchmarks.probes.conditions import MachineState, require_cores
from leansight.benchmarks.results.estimates import estimate_median, estimate_ratio
from leansight.benchmarks.results.resources import MachinePeaks
from leansight.benchmarks.results.result import (
    Benchmark,
    BenchmarkResult,
    Comparison,
    Conditions,
)
from leansight.benchmarks.timed_model import TimedModel
from leansight.runtime.errors import BundleError
from leansight.runtime.preprocessing import Image
from leansight.runtime.system.whole_files import scratch_folder

LAUNCHES: Final = 5  # of each model, if there are as many blocks
BLOCK_FRAMES: Final = 10


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure.

    Args:
        frames: timed frames of each model, at least.
        precision: half of the 95 % interval, relative to the undisturbed time and to each ratio:
            frames are added until it is reached; None adds none.
        most_s: seconds after which no more frames are added.
        threads: processor threads of the interpreter.
        hang_s: a model that is silent for longer has failed.
        profile: whether to measure the times of single operations, energy, and what the machine
            can do at most as well.

    Raises:
        ValueError: fewer than one frame.

    """

    frames: int = 200
    precision: float | None = 0.02
    most_s: float = 60.0
    threads: int = 1
    hang_s: float = 60.0
    profile: bool = True

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"runs must be 1 or more, not {self.frames}")

    @property
    def launches(self) -> int:
        """How often each model is launched before frames are added."""
        return min(LAUNCHES, math.ceil(self.frames / BLOCK_FRAMES))

    @property
    def rounds(self) -> int:
        """How many blocks a launched model runs."""
        return math.ceil(self.frames / BLOCK_FRAMES / self.launches)

    @property
    def block_frames(self) -> int:
        """How many frames a block has: as many as make the whole, 10 at most."""
        return math.ceil(self.frames / self.launches / self.rounds)


def benchmark(
    models: Sequence[Model],
    images: Sequence[Image],
    settings: Settings,
    *,
    frames: str = "given by the caller",
    on: Machine | None = None,
    capture: str = "",
    advanced: Callable[[int, int], None] | None = None,
) -> Benchmark:
    """Measure models on pictures, (H, W, 3) or (H, W) uint8, and return all that was found.

    A model that fails is a `Failure`, and the others are measured.

    Args:
        models: what `find_models` returns.
        images: the pictures that are classified in turn, one or more; none with `capture`.
        settings: how to measure.
        frames: what to say of the pictures.
        on: the machine; by default this one.
        capture: a video, or a camera as `CameraStream` names it, whose frames are captured one by
            one in the pictures' place: that is a timed step then. Other runtimes have the pictures.
        advanced: called with the numbers of blocks that are done and planned.

    Raises:
        BundleError: no model could be measured.
        DataError: the machine has fewer cores than there are to be threads.

    """
    place = on or ThisMachine()
    require_cores(settings.threads, place.facts.cores, place.on or "this machine")
    alone = not any(model.peer for model in models)
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        timed = [
            TimedModel(model, stack.enter_context(launch), settings.threads, alone=alone)
            for model, launch in _bring(models, images, place, settings, capture, folder)
        ]
        course = _run(timed, place, folder, settings, advanced)
    found = [model for model in timed if not model.failure]
    if not found:
        raise BundleError("; ".join(dict.fromkeys(model.failure for model in timed)))
    return Benchmark(
        results=tuple(model.result(place, course.peaks) for model in found),
        details=tuple(model.detail(place) for model in found),
        failures=tuple(model.as_failure() for model in timed if model.failure),
        comparisons=_comparisons(found),
        conditions=_conditions(found, place, settings, course, frames),
    )


@dataclass(frozen=True, kw_only=True)
class _Course:
    """What was seen of the machine while models were measured; see `Conditions`."""

    states: tuple[MachineState, ...]
    seconds: float
    peaks: MachinePeaks | None
    energy: str


def _run(
    models: Sequence[TimedModel],
    place: Machine,
    folder: Path,
    settings: Settings,
    advanced: Callable[[int, int], None] | None,
) -> _Course:
    """Let all models take turns, then measure what takes a run of its own."""
    began = time.monotonic()
    states = tuple(_sittings(models, place, settings, advanced))
    seconds = time.monotonic() - began
    peaks, energy = _measure_machine(models, place, folder, settings)
    return _Course(states=states, seconds=seconds, peaks=peaks, energy=energy)


def _conditions(
    found: Sequence[TimedModel], place: Machine, settings: Settings, course: _Course, frames: str
) -> Conditions:
    """Sum up under what conditions the models that did not fail were measured."""
    first = found[0].starts[0]
    return Conditions(
        facts=place.facts,
        states=course.states,
        frames=frames,
        counters=first["counters"],
        pinned_to=tuple(first["pinned_to"]),
        clock_ns=min(start["clock_ns"] for model in found for start in model.starts),
        precision=settings.precision,
        precision_reached=_is_precise(found, settings),
        seconds=course.seconds,
        real_time=all(model.at_real_time for model in found),
        peaks=course.peaks,
        energy=course.energy,
    )


def _bring(
    models: Sequence[Model],
    images: Sequence[Image],
    place: Machine,
    settings: Settings,
    capture: str,
    folder: Path,
) -> Iterator[tuple[Model, AbstractContextManager[Launch]]]:
    """Yield each model, with its weights in the file, and how it is brought to the machine."""
    pictures = folder / "images.npz"
    np.savez(pictures, *images)
    for number, given in enumerate(models):
        model = given.in_one_file(folder / str(number))
        yield (
            model,
            place.bring(
                model,
                pictures,
                threads=settings.threads,
                hang_s=settings.hang_s,
                capture="" if model.peer else capture,
            ),
        )


def _measure_machine(
    models: Sequence[TimedModel], place: Machine, folder: Path, settings: Settings
) -> tuple[MachinePeaks | None, str]:
    """Let models tell their operations and their energy; return the machine's peaks.

    And why energy is not known, "" if it is. Nothing is done where nobody asked.
    """
    formats = [found for model in models if (found := model.own_format) is not None]
    if not settings.profile or not formats:
        return None, ""
    for model in models:
        model.profile()
    peaks, no_meter = measure_peaks(
        formats, place, folder, threads=settings.threads, hang_s=settings.hang_s
    )
    reasons = [no_meter] if no_meter else [model.measure_energy() for model in models]
    return peaks, next(filter(None, reasons), "")


def measure_models(
    models: Sequence[Model],
    image: Image,
    *,
    runs: int = 200,
    threads: int = 1,
    on: Machine | None = None,
) -> list[BenchmarkResult]:
    """Measure models on one picture, (H, W, 3) or (H, W) uint8, and return their rows in order.

    Args:
        models: what `find_models` returns.
        image: the picture that is classified again and again.
        runs: timed frames of each model, 1 or more.
        threads: processor threads of the interpreter.
        on: the machine; by default this one.

    Raises:
        BundleError: a model cannot be run, or its process died.

    """
    settings = Settings(frames=runs, threads=threads, precision=None, profile=False)
    found = benchmark(models, [image], settings, on=on)
    for failure in found.failures:
        raise BundleError(failure.reason)
    return list(found.results)


def _sittings(
    models: Sequence[TimedModel],
    place: Machine,
    settings: Settings,
    advanced: Callable[[int, int], None] | None,
) -> Iterator[MachineState]:
    """Launch all models, let them take turns, and again; yield how the machine was in between."""
    end, blocks_done = time.monotonic() + settings.most_s, itertools.count(1)
    yield place.state()
    for number in itertools.count(1):
        planned = max(number, settings.launches) * len(models) * settings.rounds
        for _ in _sitting(models, settings):
            done = next(blocks_done)
            if advanced is not None:
                advanced(done, planned)
        yield place.state()
        remain = [model for model in models if not model.failure]
        is_enough = not remain or time.monotonic() > end or _is_precise(remain, settings)
        if number >= settings.launches and is_enough:
            return


def _sitting(models: Sequence[TimedModel], settings: Settings) -> Iterator[None]:
    """Launch all models and let them take turns, in every second round in reverse.

    Yields after each block.
    """
    with ExitStack() as stack:
        for model in models:
            model.launch(stack)
        for number in range(settings.rounds):
            for model in models if number % 2 == 0 else reversed(models):
                model.time_block(settings.block_frames, first=number * settings.block_frames)
                yield


def _comparisons(models: Sequence[TimedModel]) -> tuple[Comparison, ...]:
    """Compare each model with each later one."""
    blocks = [model.undisturbed_ms() for model in models]
    return tuple(
        Comparison(
            first=first,
            second=second,
            ratio=estimate_ratio(blocks[first], blocks[second]),
            pairs=blocks[first].size,
        )
        for first, second in itertools.combinations(range(len(models)), 2)
    )


def _is_precise(models: Sequence[TimedModel], settings: Settings) -> bool:
    """Say whether every undisturbed time and every ratio is known as precisely as asked."""
    if settings.precision is None:
        return True
    times = [estimate_median(model.undisturbed_ms()) for model in models]
    ratios = [comparison.ratio for comparison in _comparisons(models)]
    return all(estimate.half_width <= settings.precision for estimate in [*times, *ratios])
