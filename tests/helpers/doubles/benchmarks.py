"""What a benchmark found, made up."""

from collections.abc import Sequence
from dataclasses import replace

from leansight.benchmarks.probes.conditions import MachineFacts, MachineState
from leansight.benchmarks.results.estimates import Estimate, Percentiles
from leansight.benchmarks.results.resources import MachinePeaks, MemorySample
from leansight.benchmarks.results.result import (
    Benchmark,
    BenchmarkResult,
    Comparison,
    Conditions,
    Detail,
    Failure,
    Latency,
    LayerCount,
)

STEPS = ("preprocess", "inference", "decision", "total")
STATE = MachineState(
    time="2026-01-01T00:00:00+00:00",
    load_average=0.5,
    temperature_c=50.0,
    clock_mhz=1800.0,
    throttled_bits=0,
    throttle_count=0,
    stolen_s=0.0,
)
FACTS = MachineFacts(
    name="a board",
    kernel="Linux 6.1",
    python="3.11.2",
    versions={"leansight": "0.1.0"},
    features=("asimd",),
    governor="performance",
    timer_ns=52,
    cores=4,
)


def around(value: float, share: float = 0.01) -> Estimate:
    """Return a value with an interval of so much either way."""
    return Estimate(value=value, low=value * (1 - share), high=value * (1 + share))


def a_result(name: str, inference_ms: float, **values: object) -> BenchmarkResult:
    """Return a row whose undisturbed time is its median."""
    others = Percentiles(p50=1, p90=2, p95=2.5, p99=3, max=4, intervals={})
    latency = dict.fromkeys(STEPS, others)
    latency["inference"] = Percentiles(
        p50=inference_ms, p90=9, p95=9, p99=9, max=9, intervals={"p50": (inference_ms, 9)}
    )
    result = BenchmarkResult(
        name=name,
        format="tflite",
        precision="int8",
        float_layers=0,
        size_bytes=545_100,
        compressed_bytes=400_000,
        parameters=545_000,
        macs=258_500_000,
        peak_rss_bytes=41_000_000,
        steady_rss_bytes=40_000_000,
        steady_pss_bytes=30_000_000,
        start_ms=100.0,
        import_ms=60.0,
        load_ms=30.0,
        first_result_ms=10.0,
        latency_ms=Latency(**latency),
        undisturbed_ms=around(inference_ms),
        undisturbed_clock="processor",
        counts={},
        bundle_digest=None,
        machine="a board",
        on="",
        threads=1,
        runs=200,
        interpreter={"runtime": "LiteRT", "threads": 1, "xnnpack": "9 of 9 operations"},
        int8_peak_share=0.431,
        bandwidth_share=0.012,
    )
    return replace(result, **values)  # type: ignore[arg-type]


def a_benchmark(
    *results: BenchmarkResult,
    failures: Sequence[Failure] = (),
    share: float = 0.01,
    **conditions: object,
) -> Benchmark:
    """Return a benchmark whose ratios are those of the rows, with intervals of `share`."""
    times = [result.undisturbed_ms.value for result in results]
    return Benchmark(
        results=results,
        details=tuple(
            Detail(
                layers=(
                    LayerCount(name="first", operation="CONV_2D", macs=6_000_000, is_int8=True),
                    LayerCount(name="logits", operation="FULLY_CONNECTED", macs=43, is_int8=False),
                ),
                layer_times=(("conv1", "QLinearConv", 0.75), ("head", "Gemm", 0.25)),
                memory=tuple(
                    MemorySample(seconds=n, rss_bytes=n * 1_000_000, pss_bytes=None)
                    for n in range(1, 5)
                ),
                quantiles_ms=tuple(time * (1 + n / 100) for n in range(101)),
            )
            for time in times
        ),
        failures=tuple(failures),
        comparisons=tuple(
            Comparison(first=i, second=j, ratio=around(times[j] / times[i], share), pairs=20)
            for i in range(len(times))
            for j in range(i + 1, len(times))
        ),
        conditions=replace(
            Conditions(
                facts=FACTS,
                states=(STATE, STATE),
                frames="of a generated picture",
                counters="",
                pinned_to=(3,),
                clock_ns=700,
                precision=0.02,
                precision_reached=True,
                seconds=12.0,
                peaks=MachinePeaks(
                    int8_macs_per_s={"tflite": 61.2e9}, copy_bytes_per_s=8.1e9, threads=1
                ),
                energy="no meter",
            ),
            **conditions,  # type: ignore[arg-type]
        ),
    )
