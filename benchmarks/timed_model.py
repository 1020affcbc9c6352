"""A model that is measured: its launches, the blocks of frames of each, and what they sum up to."""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Literal

import numpy as np

from leansight.benchmarks.graph_count import GraphCount, count_graph
from leansight.benchmarks.machines import Launch, Machine, RunningModel
from leansight.benchmarks.models import Model
from leansight.benchmarks.probes.frame_times import STEPS
from leansight.benchmarks.results.estimates import (
    Floats,
    estimate_median,
    percentiles_of,
    undisturbed_of,
)
from leansight.benchmarks.results.resources import Energy, MachinePeaks, energy_of, samples_above
from leansight.benchmarks.results.result import BenchmarkResult, Detail, Failure, Latency
from leansight.runtime.errors import BundleError, LeansightError
from leansight.runtime.interpreter import Format

_WARM_UP_S: Final = 3.0  # at most
_PROFILED_FRAMES: Final = 50
_ENERGY_S: Final = 2.0
_STARTING: Final = ("import_ms", "load_ms", "first_result_ms")


class TimedModel:
    """A model, its launches so far, and the blocks of each.

    `alone`: among models of our own runtimes only, so that all can have real-time priority. Another
    runtime's threads could wait for each other for ever.
    """

    def __init__(self, model: Model, launch: Launch, threads: int, *, alone: bool = True) -> None:
        self.failure = self._profile_failure = ""
        self.starts: list[dict[str, Any]] = []
        self._model, self._launch, self._threads = model, launch, threads
        self._alone = alone
        self._launches: list[list[dict[str, Any]]] = []
        self._memory: list[list[dict[str, float | None]]] = []  # of each launch
        self._count: GraphCount | None = None
        self._layer_times: tuple[tuple[str, str, float], ...] = ()
        self._arena_bytes: int | None = None
        self._energy: Energy | None = None
        self._size_bytes = self._compressed_bytes = 0
        self._running: RunningModel

    def launch(self, stack: ExitStack) -> None:
        """Start a process and warm it up; it ends with the stack."""
        if not self.failure:
            with self._noting_failure():
                self._running = stack.enter_context(self._launch())
                self.starts.append(dict(self._running.start))
                self._launches.append([])
                self._check_labels(self._running.start["outputs"])
                if self._count is None:
                    data = self._model.read()
                    self._size_bytes = len(data)
                    self._compressed_bytes = len(zlib.compress(data, level=9))
                    self._count = count_graph(data, self._model.format, name=self._model.name)
                self._memory.append([*self._running.start["memory"]])
                self._memory[-1] += self._running.ask({"warm_up_s": _WARM_UP_S})["memory"]

    def _check_labels(self, outputs: int) -> None:
        if (labels := len(self._model.labels)) and labels != outputs:
            raise BundleError(
                f"{self._model.name} gives {outputs} numbers, but there are {labels} labels"
            )

    def time_block(self, frames: int, *, first: int) -> None:
        """Let the process classify a block of frames, which begins at the picture `first`."""
        if not self.failure:
            with self._noting_failure():
                block = self._running.ask(
                    {"frames": frames, "first": first, "real_time": self._alone}
                )
                self._launches[-1].append(block)
                self._memory[-1] += block["memory"]

    def profile(self) -> None:
        """Launch the process once more, for its arena and, if it can tell, operations' times.

        A model that fails only here keeps its row.
        """
        if self.failure or self._model.peer:
            return
        try:
            with self._launch() as running:
                self._arena_bytes = running.ask({"arena": self._model.format})["arena_bytes"]
                if self._model.format == "onnx":
                    times = running.ask({"profile": _PROFILED_FRAMES})["layer_times"]
                    self._layer_times = tuple((name, kind, ms) for name, kind, ms in times)
        except LeansightError as error:
            self._profile_failure = self._without_name(str(error))

    def measure_energy(self) -> str:
        """Launch the process once more, for its energy; return why that is not known, or ""."""
        if self.failure or self._model.peer:
            return ""
        try:
            with self._launch() as running:
                running.ask({"warm_up_s": _WARM_UP_S})
                told = running.ask({"energy_s": _ENERGY_S})
        except LeansightError as error:
            return str(error)
        if "energy" in told:
            self._energy = energy_of(told["energy"])
        return str(told.get("reason", ""))

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except BundleError as error:
            self.failure = str(error)

    def as_failure(self) -> Failure:
        """Say why there is no result."""
        model, reason = self._model, self._without_name(self.failure)
        return Failure(name=model.name, format=model.format, reason=reason, peer=model.peer)

    def _without_name(self, reason: str) -> str:
        """Return a reason that is said beside the name."""
        for known in (self._model.path, self._model.name):
            reason = reason.removeprefix(f"{known}: ")
        return reason

    def times_ms(self, clock: str) -> Floats:
        """Return the times by a step's name or "processor", (launches, rounds, frames)."""
        blocks = [[block["times_ns"][clock] for block in launch] for launch in self._launches]
        return np.asarray(blocks) / 1e6

    @property
    def undisturbed_clock(self) -> Literal["processor", "wall"]:
        """A thread's own clock sees no other program, and no other thread."""
        return "processor" if self._threads == 1 else "wall"

    @property
    def at_real_time(self) -> bool:
        """Whether the processor's time was taken at real-time priority, of every launch."""
        return self._alone and all(start["real_time"] for start in self.starts)

    def undisturbed_ms(self) -> Floats:
        """Return the undisturbed inference time of each block, (launches, rounds)."""
        clock = "processor" if self.undisturbed_clock == "processor" else "inference"
        return undisturbed_of(self.times_ms(clock))

    @property
    def own_format(self) -> Format | None:
        """The format, if it ran in our own runtime and did not fail."""
        return None if self.failure or self._model.peer else self._model.format

    def result(self, place: Machine, peaks: MachinePeaks | None = None) -> BenchmarkResult:
        """Sum up all frames, beside what the machine can do at most."""
        assert self._count is not None
        names = ("capture", *STEPS) if "capture" in self._launches[0][0]["times_ns"] else STEPS
        steps = {step: self.times_ms(step) for step in names}
        steps["total"] = np.sum(list(steps.values()), axis=0)
        starts = {
            name: float(np.median([start[name] for start in self.starts])) for name in _STARTING
        }
        start_ms = [sum(start[name] for name in _STARTING) for start in self.starts]
        undisturbed = estimate_median(self.undisturbed_ms())
        time_ms = undisturbed.value
        return BenchmarkResult(
            name=self._model.name,
            format=self._model.format,
            precision=self._count.precision_text,
            float_layers=self._count.float_layers,
            size_bytes=self._size_bytes,
            parameters=self._count.parameters,
            macs=self._count.macs,
            compressed_bytes=self._compressed_bytes,
            peak_rss_bytes=self._above(place.empty_bytes, "peak_rss"),
            model_rss_bytes=self._model_rss_bytes(),
            arena_bytes=self._arena_bytes,
            steady_rss_bytes=self._above(place.empty_bytes, "rss"),
            steady_pss_bytes=self._above(place.empty_bytes, "pss"),
            start_ms=float(np.median(start_ms)),
            import_ms=starts["import_ms"],
            load_ms=starts["load_ms"],
            first_result_ms=starts["first_result_ms"],
            latency_ms=Latency(**{step: percentiles_of(times) for step, times in steps.items()}),
            undisturbed_ms=undisturbed,
            undisturbed_clock=self.undisturbed_clock,
            counts=self._counts_a_frame(),
            bundle_digest=self._model.digest,
            machine=place.facts.name,
            on=place.on,
            threads=self._threads,
            runs=steps["total"].size,
            interpreter=self.starts[0]["settings"],
            int8_peak_share=peaks.int8_share(self._count.macs, time_ms) if peaks else None,
            bandwidth_share=peaks.bandwidth_share(self._size_bytes, time_ms) if peaks else None,
            energy=self._energy,
            frames_per_s=None if self._model.peer else round(1000 / steps["total"].mean(), 3),
        )

    def detail(self, place: Machine) -> Detail:
        """Return what the result is made of."""
        assert self._count is not None
        quantiles = np.quantile(self.times_ms("inference"), np.linspace(0, 1, 101))
        return Detail(
            layers=self._count.layers,
            layer_times=self._layer_times,
            profile_failure=self._profile_failure,
            quantiles_ms=tuple(quantiles.round(6).tolist()),
            memory=samples_above(self._memory[0], place.empty_bytes),
        )

    def _above(self, empty_bytes: Mapping[str, int | None], kind: str) -> int | None:
        """Return the most memory of a kind above an empty process, of all samples."""
        sizes = [sample[kind] for launch in self._memory for sample in launch]
        known, empty = [int(size) for size in sizes if size is not None], empty_bytes[kind]
        return max(known) - empty if known and empty is not None else None

    def _model_rss_bytes(self) -> int | None:
        """Return the most above the process with its runtime; None where nobody tells."""
        found = [
            int(max(sample["peak_rss"] or 0 for sample in samples)) - int(start["runtime_rss"])
            for start, samples in zip(self.starts, self._memory, strict=True)
            if start.get("runtime_rss") and samples
        ]
        return max(found, default=None)

    def _counts_a_frame(self) -> dict[str, float]:
        """Return the median count of a frame of each block."""
        blocks = [block for launch in self._launches for block in launch]
        frames = len(blocks[0]["times_ns"][STEPS[0]])
        return {
            name: float(np.median([block["counts"][name] / frames for block in blocks]))
            for name in blocks[0]["counts"]
        }
