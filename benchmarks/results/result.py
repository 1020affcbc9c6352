"""What a benchmark found: a row for each model, what failed, who is faster, the machine."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from leansight.benchmarks.probes.conditions import MachineFacts, MachineState, throttling
from leansight.benchmarks.results.estimates import Estimate, Percentiles
from leansight.benchmarks.results.resources import Energy, MachinePeaks, MemorySample
from leansight.runtime.interpreter import Format

FORMAT_VERSION: Final = 1
_CLOSE_TO_1: Final = 1.1  # "1 to 1.03" would not exclude it


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The steps of one image, and their sum frame by frame, in milliseconds.

    `capture`: to wait for a frame of a video or a camera and to decode it, which is in the sum
    then; None where pictures were at hand.
    """

    preprocess: Percentiles
    inference: Percentiles
    decision: Percentiles
    total: Percentiles
    capture: Percentiles | None = None


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How often a timed file is right on labelled images, with intervals over their videos.

    `accuracy` is of all images, `balanced` the mean over the classes that are there. At the
    file's own `threshold`, the share `kept`, and the share `right` of that; None where nothing
    is kept. With many labels an image is right if all of its labels are, and `balanced` is None.
    """

    images: int
    videos: int
    accuracy: Estimate
    balanced: Estimate | None
    threshold: float
    kept: Estimate
    right: Estimate | None


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult:
    """What one model takes.

    `precision` is "int8", "float32" or, with `float_layers` beside int8 ones, "int8, 3 layers
    float32"; `parameters` and `macs` are counted on the exported graph (see `count_graph`).
    `compressed_bytes` is the file's size in a zip. Memory is above that of a process that has only
    imported numpy, None where the system does not tell: at most (`peak_rss_bytes`), of which the
    model's share is what came after the import of its runtime (`model_rss_bytes`: weights, tensors,
    the code that they need; None of another runtime), and between frames (`steady_rss_bytes`;
    `steady_pss_bytes` shares pages among the processes that have them). `arena_bytes` is what one
    more copy of the model takes in a process that runs it: the tensor arena, and the weights where
    the runtime packs them (see `probes.arena`; None where nobody measured). `start_ms` is from the
    start of a process to its first result: to import (`import_ms`), to load the model (`load_ms`),
    to classify once (`first_result_ms`), medians over all launches.
    `undisturbed_ms` is what inference takes when no other program is in its way: the low quantile
    of the processor's time, or with several threads of the time that passed (`undisturbed_clock`).
    `frames_per_s`: frames one after the other, all steps, on the wall's clock, with so many
    `threads`; None of another runtime, whose pictures are prepared before.
    `counts`: instructions and cycles of a frame where the kernel counts them. `runs` is the number
    of timed frames. `interpreter` is what the runtime says of how it runs the model: its name, its
    threads, and its own options. `int8_peak_share`: of the fastest int8 matrix product in the same
    run, what the model's MACs in its undisturbed time are; `bandwidth_share`: of a large copy, what
    it takes to read the file once a frame; both None where nobody measured (see `MachinePeaks`).
    `energy` of a frame, None where the machine does not tell. `on` is how the machine was reached,
    "" for this one.
    `accuracy` is that of this very file, where labelled images were given;
    `accuracy_failure` says why it is not known.
    """

    name: str
    format: Format
    precision: str
    float_layers: int
    size_bytes: int
    compressed_bytes: int
    parameters: int
    macs: int
    peak_rss_bytes: int | None
    steady_rss_bytes: int | None
    steady_pss_bytes: int | None
    start_ms: float
    import_ms: float
    load_ms: float
    first_result_ms: float
    latency_ms: Latency
    undisturbed_ms: Estimate
    undisturbed_clock: Literal["processor", "wall"]
    counts: dict[str, float]
    bundle_digest: str | None
    machine: str
    on: str
    threads: int
    runs: int
    interpreter: Mapping[str, str | int] = field(default_factory=dict)
    int8_peak_share: float | None = None
    bandwidth_share: float | None = None
    energy: Energy | None = None
    frames_per_s: float | None = None
    model_rss_bytes: int | None = None
    arena_bytes: int | None = None
    accuracy: Accuracy | None = None
    accuracy_failure: str = ""

    @property
    def title(self) -> str:
        """The name and the format, which tell the two files of a bundle apart."""
        return f"{self.name} ({self.format})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class LayerCount:
    """What one operation of a graph takes: those that multiply, in their order in the graph."""

    name: str
    operation: str
    macs: int
    is_int8: bool


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a row is made of: the graph's operations, and how its frames are distributed.

    `layer_times`: (name, operation, milliseconds) of what the runtime runs, after its own fusions;
    none where it does not tell (LiteRT), or was not asked.
    `profile_failure`: why these times, or the arena, are missing; "" if nothing failed.
    `quantiles_ms`: inference on the wall's clock, from the fastest frame to the slowest in
    hundredths of all frames.
    `memory`: of its first launch, from the start on; 100 samples at most, and the largest is there.
    """

    layers: tuple[LayerCount, ...]
    layer_times: tuple[tuple[str, str, float], ...]
    quantiles_ms: tuple[float, ...]
    memory: tuple[MemorySample, ...] = ()
    profile_failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A model that could not be measured, and why; `peer` is the other runtime that it was for."""

    name: str
    format: Format
    reason: str
    peer: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models by their places among the results.

    `ratio` is the undisturbed inference time of the second by that of the first, from `pairs`
    of blocks that ran one after the other.
    """

    first: int
    second: int
    ratio: Estimate
    pairs: int

    @property
    def is_known(self) -> bool:
        """Whether there are pairs enough for an interval."""
        return self.ratio.low is not None and self.ratio.high is not None

    @property
    def faster(self) -> int | None:
        """The place of the faster one; None where the interval does not exclude a ratio of 1."""
        if self.ratio.low is None or self.ratio.high is None:
            return None
        if self.ratio.low > 1:
            return self.first
        return self.second if self.ratio.high < 1 else None


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The machine, how it was before, during and after, and what was asked of it.

    `frames` says which pictures were classified. `counters` says why instructions were not
    counted, "" if they were. `pinned_to`: the cores that the threads were held on. `clock_ns`:
    what it takes to read the clocks around a frame. `precision` is what was asked for,
    `precision_reached` whether the undisturbed times and all ratios have it, `seconds` for how long
    models took turns. `peaks` is what the machine did at most, None where nobody measured. `energy`
    says why energy is not known, "" if it is or nobody asked. `real_time`: undisturbed times were
    taken at real-time priority, so that no other program used the caches in between.
    """

    facts: MachineFacts
    states: tuple[MachineState, ...]
    frames: str
    counters: str
    pinned_to: tuple[int, ...]
    clock_ns: int
    precision: float | None
    precision_reached: bool
    seconds: float
    peaks: MachinePeaks | None = None
    energy: str = ""
    real_time: bool = False

    @property
    def throttled(self) -> str:
        """How the machine slowed itself down meanwhile, which makes the figures worthless."""
        return throttling(self.states)


@dataclass(frozen=True, kw_only=True)
class Work:
    """The instructions of a frame of 640 x 480 pixels in an emulated Pi: work, not time.

    `instructions`: of preprocessing, inference and the rest. `board` is "pi4" or "pi5", `core` the
    processor's. `packages`: the versions there, and what prepared the pictures ("preprocessing").
    `failure` says why there are none.
    """

    name: str
    format: Format
    board: str
    core: str
    instructions: dict[str, int]
    packages: dict[str, str]
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """All that one benchmark found: `details` of each result, `comparisons` of all pairs.

    `work`: instructions that were counted in an emulated Pi, none where nobody asked.
    """

    results: tuple[BenchmarkResult, ...]
    details: tuple[Detail, ...]
    failures: tuple[Failure, ...]
    comparisons: tuple[Comparison, ...]
    conditions: Conditions
    work: tuple[Work, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: what a result file holds."""
        return {
            "format_version": FORMAT_VERSION,
            **asdict(self),
            "throttled": self.conditions.throttled,
        }

    @property
    def is_complete(self) -> bool:
        """Whether all that was asked of our own runtimes was measured.

        That another runtime cannot run a file is a result.
        """
        missing = [*(f for f in self.failures if not f.peer), *(w for w in self.work if w.failure)]
        return not missing and not any(result.accuracy_failure for result in self.results)

    def ranking(self) -> list[int]:
        """Return the places of the results, from the fastest to the slowest."""
        times = [result.undisturbed_ms.value for result in self.results]
        return sorted(range(len(times)), key=times.__getitem__)

    def verdicts(self) -> list[str]:
        """Say of neighbours which is faster, that no difference is seen, or that nobody knows."""
        ranking = self.ranking()
        return [self._verdict(a, b) for a, b in itertools.pairwise(ranking)]

    def compared(self, first: int, second: int) -> Comparison:
        """Return the comparison of two results by their places, in this order or the other."""
        return next(c for c in self.comparisons if {c.first, c.second} == {first, second})

    def _verdict(self, first: int, second: int) -> str:
        names = titles(self.results)
        comparison = self.compared(first, second)
        if comparison.faster is None:
            seen = "no difference seen" if comparison.is_known else "too few frames to tell"
            return f"{names[first]} and {names[second]}: {seen}"
        slower = ({first, second} - {comparison.faster}).pop()
        ratio = (
            comparison.ratio if comparison.faster == comparison.first else inverse(comparison.ratio)
        )
        digits = ".4g" if ratio.value < _CLOSE_TO_1 else ".3g"
        return (
            f"{names[comparison.faster]} is faster than {names[slower]}: "
            f"{ratio.value:{digits}} times ({ratio.low:{digits}} to {ratio.high:{digits}})"
        )


def inverse(ratio: Estimate) -> Estimate:
    """Return the ratio the other way round."""
    low, high = (None if end is None else 1 / end for end in (ratio.high, ratio.low))
    return Estimate(value=1 / ratio.value, low=low, high=high)


def titles(results: Sequence[BenchmarkResult]) -> list[str]:
    """Return a title for each result; what is given twice has a number."""
    names = [result.title for result in results]
    return [
        f"{name} #{names[:n].count(name) + 1}" if names.count(name) > 1 else name
        for n, name in enumerate(names)
    ]
