from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.results.resources import MemorySample, samples_above, thin


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=400), st.integers(4, 100))
def test_samples_are_few_and_the_ends_and_the_largest_are_among_them(
    sizes: list[int], most: int
) -> None:
    samples = [MemorySample(seconds=n, rss_bytes=s, pss_bytes=None) for n, s in enumerate(sizes)]
    chosen = thin(samples, most)
    assert len(chosen) <= most
    assert len(chosen) >= min(len(samples), most // 2)
    assert (chosen[0], chosen[-1]) == (samples[0], samples[-1])
    assert max(s.rss_bytes or 0 for s in chosen) == max(sizes)
    assert [s.seconds for s in chosen] == sorted({s.seconds for s in chosen})


def test_memory_is_that_above_an_empty_process_where_it_is_told() -> None:
    told = [{"seconds": 0.12345, "peak_rss": 9.0, "rss": 700.0, "pss": None}]
    empty = {"peak_rss": 1, "rss": 300, "pss": None}
    assert samples_above(told, empty) == (
        MemorySample(seconds=0.123, rss_bytes=400, pss_bytes=None),
    )


@pytest.mark.parametrize("frames", [1, 40])
def test_a_benchmark_has_a_models_memory_from_its_start_on(tiny_bundle: Path, frames: int) -> None:
    settings = Settings(frames=frames, precision=None, profile=False)
    found = benchmark(find_models([tiny_bundle], "tflite"), [synthetic_image()], settings)
    (detail,), (result,) = found.details, found.results
    # Imported, loaded, first result, warmed up; then each block of the first launch.
    assert len(detail.memory) == 4 + settings.rounds
    times = [sample.seconds for sample in detail.memory]
    assert 0 < times[0] < times[-1] < found.conditions.seconds
    assert times == sorted(times)
    sizes = [sample.rss_bytes or 0 for sample in detail.memory]
    assert sizes[1] > sizes[0]  # the interpreter and the model
    assert result.steady_rss_bytes is not None
    assert max(sizes) <= result.steady_rss_bytes
