"""Measure models, each in a process of its own, in rounds that alternate between them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leansight.benchmarks.graph_count import GraphCount, count_graph
from leansight.benchmarks.machines import Machine, RunningModel, ThisMachine
from leansight.benchmarks.models import Model
from leansight.benchmarks.worker import STEPS
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Image
from leansight.runtime.system.whole_files import scratch_folder

# A drift of the machine's speed hits all models alike if they take turns.
ROUNDS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """The median and the slow end of the measured runs, in milliseconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The three steps of one image, and their sum run by run."""

    preprocess: Percentiles
    inference: Percentiles
    decision: Percentiles
    total: Percentiles


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """What one model takes.

    `precision` is "int8", "float32" or, with `float_layers` beside int8 ones, "int8, 3 layers
    float32"; `parameters` and `macs` are counted on the exported graph (see `count_graph`).
    `peak_rss_bytes` is above that of a process that has only imported numpy, None where the
    system does not tell; `start_ms` is from the start of a process to its first result.
    """

    name: str
    format: Format
    precision: str
    float_layers: int
    size_bytes: int
    parameters: int
    macs: int
    peak_rss_bytes: int | None
    start_ms: float
    latency_ms: Latency
    bundle_digest: str | None
    machine: str
    threads: int
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def measure_models(
    models: Sequence[Model],
    image: Image,
    *,
    runs: int = 200,
    warmup: int = 20,
    threads: int = 1,
    on: Machine | None = None,
    advanced: Callable[[], None] = lambda: None,
) -> list[BenchmarkResult]:
    """Measure models on one picture, (H, W, 3) or (H, W) uint8, and return them in order.

    Args:
        models: what `find_models` returns.
        image: the picture that is classified again and again.
        runs: measured runs of each model, 1 or more.
        warmup: unmeasured runs before each of up to four rounds.
        threads: processor threads of the interpreter.
        on: the machine; by default this one.
        advanced: called `steps(models, runs)` times on the way, to show progress.

    Raises:
        BundleError: a model cannot be run, or its process died.

    """
    rounds = _rounds(runs)
    place = on or ThisMachine()
    empty_bytes = place.empty_bytes
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        picture = folder / "image.npy"
        np.save(picture, image)
        models = [m.in_one_file(folder / str(n)) for n, m in enumerate(models)]
        timed = []
        for model in models:
            running = stack.enter_context(place.start(model, picture, threads))
            timed.append(_TimedModel(model, running))
            advanced()
        counts = [count_graph(m.read(), m.format, name=m.name) for m in models]
        for size in rounds:
            for one in timed:
                one.run(warmup=warmup, runs=size)
                advanced()
    return [
        one.result(count, empty_bytes, machine=place.name, threads=threads)
        for one, count in zip(timed, counts, strict=True)
    ]


def steps(models: Sequence[Model], runs: int) -> int:
    """Return how often `measure_models` reports that it advanced."""
    return len(models) * (1 + len(_rounds(runs)))


def _rounds(runs: int) -> list[int]:
    if runs < 1:
        raise ValueError(f"runs must be 1 or more, not {runs}")
    sizes = [len(part) for part in np.array_split(np.empty(runs), ROUNDS)]
    return [size for size in sizes if size]


class _TimedModel:
    """A running model, and the times of its runs so far."""

    def __init__(self, model: Model, running: RunningModel) -> None:
        self._model, self._running = model, running
        self._size_bytes = len(model.read())
        self._times_ns: dict[str, list[int]] = {step: [] for step in STEPS}
        self._peak_bytes: int | None = None

    def run(self, *, warmup: int, runs: int) -> None:
        """Let the process classify: first unmeasured, then measured."""
        answer = self._running.ask({"warmup": warmup, "runs": runs})
        for step, times_ns in answer["times_ns"].items():
            self._times_ns[step].extend(times_ns)
        self._peak_bytes = answer["peak_rss_bytes"]

    def result(
        self, count: GraphCount, empty_bytes: int | None, *, machine: str, threads: int
    ) -> BenchmarkResult:
        """Sum up the runs so far."""
        above = None
        if self._peak_bytes is not None and empty_bytes is not None:
            above = self._peak_bytes - empty_bytes
        return BenchmarkResult(
            name=self._model.name,
            format=self._model.format,
            precision=count.precision_text,
            float_layers=count.float_layers,
            size_bytes=self._size_bytes,
            parameters=count.parameters,
            macs=count.macs,
            peak_rss_bytes=above,
            start_ms=self._running.start_ms,
            latency_ms=summary(self._times_ns),
            bundle_digest=self._model.digest,
            machine=machine,
            threads=threads,
            runs=len(self._times_ns["inference"]),
        )


def summary(times_ns: Mapping[str, Sequence[int]]) -> Latency:
    """Return the percentiles of each step's nanoseconds, and of their sum run by run."""
    samples = {step: np.asarray(times_ns[step]) / 1e6 for step in STEPS}
    samples["total"] = np.sum(list(samples.values()), axis=0)
    return Latency(**{step: _percentiles(values) for step, values in samples.items()})


def _percentiles(samples_ms: NDArray[np.float64]) -> Percentiles:
    p50, p90, p99 = (round(float(p), 6) for p in np.percentile(samples_ms, [50, 90, 99]))
    return Percentiles(p50=p50, p90=p90, p99=p99)
