from pathlib import Path

import pytest

from leansight.benchmarks import peaks as peaks_module
from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.probes.peak_graphs import PEAK_MACS, peak_graph
from leansight.benchmarks.results.resources import MachinePeaks

QUICK = Settings(frames=1, precision=None)


def test_shares_by_hand() -> None:
    peaks = MachinePeaks(
        int8_macs_per_s={"tflite": 50e9, "onnx": 40e9}, copy_bytes_per_s=10e9, threads=1
    )
    # 250 M MACs in 10 ms are 25 G a second, half of 50 G; 1 MB in 10 ms is 0.1 GB/s.
    assert peaks.int8_share(250_000_000, 10.0) == pytest.approx(0.5)
    assert peaks.bandwidth_share(1_000_000, 10.0) == pytest.approx(0.01)
    nothing = MachinePeaks(int8_macs_per_s={}, copy_bytes_per_s=None, threads=1)
    assert nothing.int8_share(1, 1.0) is nothing.bandwidth_share(1, 1.0) is None


def test_the_peak_itself_as_a_model_has_nearly_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(peak_graph("tflite"))
    models = find_models([tmp_path / "model.tflite"])
    found = benchmark(models, [synthetic_image()], Settings(frames=10, precision=None))
    (result,) = found.results
    peaks = found.conditions.peaks
    assert peaks is not None
    assert list(peaks.int8_macs_per_s) == ["tflite"]
    assert result.macs == PEAK_MACS
    assert result.int8_peak_share == pytest.approx(1, abs=0.5)  # a busy machine: no less, no more
    assert peaks.copy_bytes_per_s is not None
    assert 1e8 < peaks.copy_bytes_per_s < 1e12
    read_s = result.size_bytes / peaks.copy_bytes_per_s
    assert result.bandwidth_share == pytest.approx(read_s / (result.undisturbed_ms.value / 1000))


def test_a_peak_that_cannot_be_measured_is_said(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peaks_module, "peak_graph", lambda _: b"not a graph at all")
    found = benchmark(find_models([tiny_bundle], "onnx"), [synthetic_image()], QUICK)
    peaks = found.conditions.peaks
    assert peaks is not None
    assert peaks.int8_macs_per_s == {}
    assert "peak.onnx" in peaks.failure
    assert found.results[0].int8_peak_share is None
    assert found.failures == ()
