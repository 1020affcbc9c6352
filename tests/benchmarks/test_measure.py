import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models
from click.testing import CliRunner
from onnx import helper

from leansight.benchmarks import measure
from leansight.benchmarks.measure import Settings, benchmark, measure_models
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.results.result import BenchmarkResult
from leansight.runtime.classifier import Classifier
from leansight.runtime.errors import BundleError, DataError, MissingExtraError
from leansight.runtime.interpreter import Format
from leansight.sdk.commands import cli
from leansight.sdk.commands.bench import command

KEYS = [
    *("name", "format", "precision", "float_layers", "size_bytes", "compressed_bytes"),
    *("parameters", "macs", "peak_rss_bytes", "steady_rss_bytes", "steady_pss_bytes"),
    *("start_ms", "import_ms", "load_ms", "first_result_ms"),
    *("latency_ms", "undisturbed_ms", "undisturbed_clock", "counts"),
    *("bundle_digest", "machine", "on", "threads", "runs", "interpreter"),
    *("int8_peak_share", "bandwidth_share", "energy", "frames_per_s", "model_rss_bytes"),
    *("arena_bytes", "accuracy", "accuracy_failure"),
]
STEPS = ("preprocess", "inference", "decision", "total")
IMAGE = synthetic_image()


@pytest.fixture
def files(tmp_path: Path, tiny_tflite: bytes, tiny_onnx: bytes) -> Path:
    """A folder with the bare models tiny.tflite and tiny.onnx."""
    (tmp_path / "tiny.tflite").write_bytes(tiny_tflite)
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx)
    return tmp_path


def bench(*paths: Path, runs: int = 5, wanted: Format | None = None) -> list[BenchmarkResult]:
    return measure_models(find_models(paths, wanted), IMAGE, runs=runs)


# The fixtures


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_the_tiny_bundle_tells_stripes_apart(tiny_bundle: Path, model_format: Format) -> None:
    classifier = Classifier.load(tiny_bundle, model_format=model_format)
    for label in tiny_models.LABELS:
        assert classifier(tiny_models.stripes(label, size=64)).label == label


# Results


def test_json_has_the_promised_keys_and_rows_in_the_order_given(
    tiny_bundle: Path, files: Path
) -> None:
    paths = [files / "tiny.onnx", tiny_bundle, files / "tiny.tflite"]
    arguments = [*map(str, paths), "--json", "--runs", "6", "--threads", "2", "--most-seconds", "0"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    rows = json.loads(result.stdout)
    assert [list(row) for row in rows] == [KEYS] * 4
    assert [(row["name"], row["format"]) for row in rows] == [
        ("tiny.onnx", "onnx"),
        ("tiny.bundle", "tflite"),
        ("tiny.bundle", "onnx"),
        ("tiny.tflite", "tflite"),
    ]
    for row in rows:
        assert row["latency_ms"].pop("capture") is None
        assert list(row["latency_ms"]) == list(STEPS)
        for percentiles in row["latency_ms"].values():
            assert 0 < percentiles["p50"] <= percentiles["p90"] <= percentiles["p99"]
        assert row["parameters"] == tiny_models.STRIPES_PARAMETERS
        assert row["macs"] == tiny_models.STRIPES_MACS
        assert (row["runs"], row["threads"], row["precision"]) == (6, 2, "float32")
        assert row["start_ms"] > row["latency_ms"]["total"]["p50"]
        # The mean is between the fastest and the slowest frame, with both threads.
        assert 1000 / row["latency_ms"]["total"]["max"] < row["frames_per_s"]
    manifest = json.loads((tiny_bundle / "bundle.json").read_text())
    assert [row["bundle_digest"] for row in rows] == [None, *[manifest["digest"]] * 2, None]
    assert [row["size_bytes"] for row in rows] == [
        (files / "tiny.onnx").stat().st_size,
        (tiny_bundle / "model.tflite").stat().st_size,
        (tiny_bundle / "model.onnx").stat().st_size,
        (files / "tiny.tflite").stat().st_size,
    ]


def test_format_picks_one_model_of_a_bundle_or_of_its_zip(tiny_bundle: Path) -> None:
    zipped = tiny_bundle.with_suffix(".zip")
    with zipfile.ZipFile(zipped, "w") as archive:
        for file in tiny_bundle.iterdir():
            archive.write(file, f"tiny.bundle/{file.name}")
    results = bench(tiny_bundle, zipped, wanted="onnx", runs=1)
    assert [(r.name, r.format) for r in results] == [("tiny.bundle", "onnx"), ("tiny.zip", "onnx")]


def test_models_of_one_name_are_told_apart_by_their_paths(tiny_bundle: Path) -> None:
    other = tiny_bundle.parent / "other" / tiny_bundle.name
    shutil.copytree(tiny_bundle, other)
    found = find_models([tiny_bundle, other], "onnx")
    assert [model.name for model in found] == [str(tiny_bundle), str(other)]


def test_the_steps_of_one_run_sum_to_its_total(files: Path) -> None:
    (result,) = bench(files / "tiny.tflite", runs=1)
    latency = result.latency_ms
    parts = latency.preprocess.p50 + latency.inference.p50 + latency.decision.p50
    assert latency.total.p50 == pytest.approx(parts, abs=1e-5)


@pytest.mark.parametrize(
    ("frames", "launches", "timed"), [(1, 1, 1), (10, 1, 10), (11, 2, 12), (60, 5, 60)]
)
def test_progress_ends_where_it_was_planned(
    files: Path, frames: int, launches: int, timed: int
) -> None:
    models = find_models([files / "tiny.tflite"])
    calls: list[tuple[int, int]] = []
    settings = Settings(frames=frames, precision=None)
    found = benchmark(models, [IMAGE], settings, advanced=lambda *call: calls.append(call))
    assert [done for done, _ in calls] == list(range(1, calls[-1][1] + 1))
    assert found.results[0].runs == timed
    assert len(found.conditions.states) == launches + 1


def test_frames_are_added_until_time_is_up(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = find_models([files / "tiny.tflite"])
    # A clock on which each look takes a second: one at the beginning, one for each launch.
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    impossible = Settings(frames=20, precision=1e-9, most_s=4.5)
    found = benchmark(models, [IMAGE], impossible)
    assert found.results[0].runs == 5 * 10
    assert not found.conditions.precision_reached


def test_no_frames_are_added_where_the_precision_is_reached(files: Path) -> None:
    models = find_models([files / "tiny.tflite"])
    found = benchmark(models, [IMAGE], Settings(frames=60, precision=10.0))
    assert found.conditions.precision_reached
    assert found.results[0].runs == 60


def test_the_same_model_twice_is_compared_in_pairs(files: Path) -> None:
    models = find_models([files / "tiny.tflite", files / "tiny.tflite"])
    found = benchmark(models, [IMAGE], Settings(frames=100, precision=None))
    (comparison,) = found.comparisons
    assert comparison.pairs == 10
    # Far from any other two models, even where others have the machine: see decision 0035.
    assert 0.8 < comparison.ratio.value < 1.25


def test_reading_the_clocks_takes_little_of_a_frame(files: Path) -> None:
    found = benchmark(
        find_models([files / "tiny.tflite"]), [IMAGE], Settings(frames=1, precision=None)
    )
    assert 0 < found.conditions.clock_ns < 20_000


def test_the_synthetic_picture_is_always_the_same() -> None:
    assert (IMAGE.shape, IMAGE.dtype) == ((480, 640, 3), np.uint8)
    assert (synthetic_image() == IMAGE).all()
    assert 30 < IMAGE.std() < 80


# Memory


def test_peak_ram_rises_by_what_a_model_allocates(tmp_path: Path) -> None:
    paths = [tmp_path / "small.tflite", tmp_path / "large.tflite"]
    for path, factor in zip(paths, (1, 400), strict=True):
        path.write_bytes(tiny_models.enlarging(factor))
    small, large = bench(*paths, runs=1)
    assert small.peak_rss_bytes is not None
    assert large.peak_rss_bytes is not None
    allocated = 64 * 400**2 * 4
    assert 0.9 < (large.peak_rss_bytes - small.peak_rss_bytes) / allocated < 1.2
    # Nothing of it is given back between frames, and no other process has it.
    assert large.steady_pss_bytes is not None
    assert small.steady_pss_bytes is not None
    assert 0.9 < (large.steady_pss_bytes - small.steady_pss_bytes) / allocated < 1.2
    assert large.compressed_bytes < large.size_bytes


def test_peak_ram_is_not_that_of_the_process_that_measures(files: Path) -> None:
    ballast = np.ones(50_000_000)
    (result,) = bench(files / "tiny.tflite", runs=1)
    assert result.peak_rss_bytes is not None
    assert 5e6 < result.peak_rss_bytes < ballast.nbytes / 2


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        (
            "leansight.benchmarks.worker",
            {
                "onnx",
                "rich",
                "leansight.benchmarks.graph_count",
                "click",
                "statistics",
                "subprocess",
            },
        ),
        ("leansight.sdk.commands.bench", {"onnx", "rich", "leansight.benchmarks.measure", "cv2"}),
    ],
)
def test_importing_loads_no_more_than_it_needs(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not absent & set(done.stdout.split())


# Errors


def test_a_user_mistake_is_one_line_on_stderr_and_exit_code_1(files: Path) -> None:
    (files / "cut.onnx").write_bytes((files / "tiny.onnx").read_bytes()[:200])
    arguments = ["bench", str(files / "tiny.onnx"), str(files / "cut.onnx"), "--runs", "1"]
    code = "from leansight.sdk.commands.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "cut.onnx is not an ONNX file" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.onnx", None, "gone.onnx does not exist"),
        ("gone.bundle", None, "gone.bundle does not exist"),
        ("cut.tflite", "tiny.tflite", "cut.tflite is not a TFLite model that can run"),
        ("cut.onnx", "tiny.onnx", "cut.onnx is not an ONNX file"),
        ("text.onnx", b"Dear reader,", "text.onnx is not an ONNX file"),
        ("text.tflite", b"Dear reader,", "text.tflite is not a TFLite model that can run"),
        ("empty.tflite", b"", "empty.tflite is empty"),
        ("notes.txt", b"Dear reader,", "neither a bundle folder nor a sound zip of one"),
    ],
)
def test_a_bad_file_is_named(
    files: Path, name: str, content: bytes | str | None, message: str
) -> None:
    if isinstance(content, str):
        content = (files / content).read_bytes()[:300]
    if content is not None:
        (files / name).write_bytes(content)
    with pytest.raises(BundleError, match=message):
        bench(files / name)


def test_a_bundle_with_a_changed_byte_is_refused(tiny_bundle: Path) -> None:
    model = tiny_bundle / "model.onnx"
    model.write_bytes(model.read_bytes().replace(b"means", b"meanz"))
    with pytest.raises(BundleError, match=r"model.onnx was changed after it was made"):
        bench(tiny_bundle)


def test_a_format_that_is_not_there_is_refused(files: Path) -> None:
    with pytest.raises(BundleError, match=r"tiny.onnx is not in the format tflite"):
        find_models([files / "tiny.onnx"], "tflite")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -SEGV $$", "tiny.onnx: its process was killed by SIGSEGV"),
        ("kill -KILL $$", r"tiny.onnx: its process was killed by SIGKILL \(not enough memory\?\)"),
        ("echo 'out of luck' >&2; exit 3", "tiny.onnx: its process ended with code 3: out of luck"),
    ],
)
def test_a_process_that_dies_is_named_with_its_signal(
    files: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    python = files / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *worker*) {script};; *) echo;; esac\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(BundleError, match=message):
        bench(files / "tiny.onnx")


CRASH = "import os, sys\nif 'bad.onnx' in str(sys.orig_argv): "


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (CRASH + "os.kill(os.getpid(), 11)", "its process was killed by SIGSEGV"),
        (CRASH + "import time; time.sleep(60)", "its process gave no answer for 8 s"),
    ],
)
def test_a_model_that_crashes_or_hangs_is_one_row_while_others_are_measured(
    files: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    shutil.copy(files / "tiny.onnx", files / "bad.onnx")
    (files / "site").mkdir()
    (files / "site" / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(files / "site"), prepend=os.pathsep)
    models = find_models([files / "bad.onnx", files / "tiny.tflite"])
    found = benchmark(models, [IMAGE], Settings(frames=4, precision=None, hang_s=8.0))
    assert [result.name for result in found.results] == ["tiny.tflite"]
    assert [(f.name, f.format) for f in found.failures] == [("bad.onnx", "onnx")]
    assert found.failures[0].reason.startswith(reason)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells memory on Linux only")
def test_the_memory_of_the_model_is_told_apart_from_its_runtime(files: Path) -> None:
    """5 million weights of 4 bytes are in it, ONNX Runtime's own 30 MB are not."""
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    weights = {"weights": np.ones((5_000, 1_000), np.float32)}
    large = files / "large.onnx"
    large.write_bytes(tiny_models.onnx_model(nodes, weights, (1, 1, 50, 100), (1, 1_000)))
    small, big = bench(files / "tiny.onnx", large, runs=1)
    for row in (small, big):
        assert row.peak_rss_bytes is not None
        assert row.model_rss_bytes is not None
        assert 0 < row.model_rss_bytes < row.peak_rss_bytes - 10_000_000
    assert big.model_rss_bytes - small.model_rss_bytes > 19_000_000


def test_a_model_without_finite_numbers_says_so(tmp_path: Path, tiny_onnx: bytes) -> None:
    path = tmp_path / "nan.onnx"
    nodes = [
        helper.make_node("GlobalMaxPool", ["pixels"], ["most"]),
        helper.make_node("Div", ["most", "zero"], ["logits"]),
    ]
    constants = {"zero": np.zeros(1, np.float32)}
    path.write_bytes(tiny_models.onnx_model(nodes, constants, (1, 3, 8, 8), (1, 3, 1, 1)))
    with pytest.raises(
        BundleError, match=r"nan.onnx: the network returned a value that is not a finite"
    ):
        bench(path)
    words = [path, tmp_path / "tiny.onnx", "--runs", "1", "--most-seconds", "0"]
    (tmp_path / "tiny.onnx").write_bytes(tiny_onnx)
    done = CliRunner().invoke(command, [str(word) for word in words])
    assert done.exit_code == 1
    assert "nan.onnx (onnx) failed: " in done.stdout
    assert "tiny.onnx" in done.stdout


def test_a_picture_that_is_none_is_refused(files: Path) -> None:
    arguments = [str(files / "tiny.onnx"), "--image", str(files / "tiny.onnx")]
    with pytest.raises(DataError, match="is not an image that OpenCV can read"):
        CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_a_missing_rich_says_what_to_type(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'leansight\[bench\]'"):
        CliRunner().invoke(command, [str(files / "tiny.onnx")], catch_exceptions=False)


def test_all_files_are_written_of_one_measurement(files: Path) -> None:
    names = ("bench.json", "bench.html", "bench.csv", "bench.md")
    flags = ("--out", "--html", "--csv", "--markdown")
    asked = [word for f, n in zip(flags, names, strict=True) for word in (f, str(files / n))]
    arguments = [str(files / "tiny.tflite"), "--runs", "1", "--most-seconds", "0", *asked]
    CliRunner().invoke(command, arguments, catch_exceptions=False)
    found = json.loads((files / "bench.json").read_text())
    p50 = found["results"][0]["latency_ms"]["total"]["p50"]
    assert len(found["details"][0]["quantiles_ms"]) == 101
    assert f"{p50:.3f}" in (files / "bench.html").read_text()
    assert f"{p50:.3f}" in (files / "bench.md").read_text()
    assert str(p50) in (files / "bench.csv").read_text()


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_timed(files: Path) -> None:
    nowhere = files / "tiny.onnx" / "bench.json"
    with pytest.raises(DataError, match=r"bench.json cannot be written"):
        CliRunner().invoke(
            command, [str(files / "tiny.onnx"), "--out", str(nowhere)], catch_exceptions=False
        )


@pytest.mark.parametrize("flag", ["--out", "--html", "--csv", "--markdown"])
def test_a_folder_that_is_not_there_is_said_before_anything_is_timed(
    files: Path, flag: str
) -> None:
    for place, message in (("none/a.x", "there is no folder .*/none"), ("", "is a folder: name")):
        words = ["bench", str(files / "gone.onnx"), flag, str(files / place)]
        done = CliRunner().invoke(cli.leansight, words)
        assert re.search(message, str(done.exception)), done.exception


def test_more_threads_than_cores_are_refused_before_anything_is_read(files: Path) -> None:
    words = [files / "gone.onnx", "--threads", "100000"]
    done = CliRunner().invoke(cli.leansight, ["bench", *[str(word) for word in words]])
    assert re.fullmatch(
        r"this machine has \d+ cores?: 100000 threads would wait for each other. "
        r"Give \d+ at most",
        str(done.exception),
    )
    assert getattr(done.exception, "parameter", "") == "threads"


def test_no_model_is_measured_with_more_threads_than_a_machine_has_cores(files: Path) -> None:
    models = find_models([files / "tiny.onnx"])
    with pytest.raises(DataError, match=r"^this machine has \d+ cores?: 100000 threads"):
        benchmark(models, [IMAGE], Settings(threads=100_000))


def test_no_runs_are_a_mistake(files: Path) -> None:
    with pytest.raises(ValueError, match="runs must be 1 or more, not 0"):
        bench(files / "tiny.onnx", runs=0)
