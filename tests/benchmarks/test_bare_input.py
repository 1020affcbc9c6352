"""Files that nobody made for leansight: any height, width and depth, several outputs, labels."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import tiny_models
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from leansight.benchmarks.bare_input import bare_input
from leansight.benchmarks.measure import Settings, benchmark
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image, video_frames
from leansight.benchmarks.results.result import Benchmark
from leansight.benchmarks.worker import load_model
from leansight.runtime.errors import BundleError, DataError
from leansight.sdk.commands.bench import command

QUICK = Settings(frames=1, precision=None, profile=False)


def measured(*paths: Path, labels: tuple[str, ...] = ()) -> Benchmark:
    return benchmark(find_models(paths, None, labels), [synthetic_image()], QUICK)


def brightest(path: Path, shape: tuple[int, int, int, int]) -> Path:
    """Write a model whose logits are each channel's brightest value."""
    nodes = [helper.make_node("GlobalMaxPool", ["pixels"], ["logits"])]
    path.write_bytes(tiny_models.onnx_model(nodes, {}, shape, (1, shape[1], 1, 1)))
    return path


def with_two_outputs(path: Path) -> Path:
    """Write a model that gives 64 features, then 3 logits."""
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["features"]),
        helper.make_node("GlobalMaxPool", ["pixels"], ["most"]),
        helper.make_node("Flatten", ["most"], ["flat"]),
        helper.make_node("Concat", ["flat", "flat", "flat"], ["logits"], axis=1),
    ]
    model = onnx.load_from_string(tiny_models.onnx_model(nodes, {}, (1, 1, 8, 8), (1, 3)))
    features = helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, (1, 64))
    model.graph.output.insert(0, features)
    path.write_bytes(model.SerializeToString())
    return path


@settings(max_examples=20)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.integers(1, 5),
    gray=st.booleans(),
)
def test_pictures_are_stretched_to_any_input(
    *, height: int, width: int, channels: int, gray: bool
) -> None:
    """A picture of one colour has it everywhere, in RGB order, or as gray in each channel."""
    colour = (10, 200, 90)
    picture = np.full((24, 32), 77, np.uint8) if gray else np.full((24, 32, 3), colour, np.uint8)
    pixels = bare_input(height, width, channels)(picture)
    assert (pixels.shape, pixels.dtype) == ((1, height, width, channels), np.uint8)
    if gray:
        expected = [77] * channels
    elif channels == 3:
        expected = list(colour[::-1])
    else:
        luminance = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2]
        expected = [round(luminance)] * channels
    assert (pixels == np.array(expected)).all()


@pytest.mark.parametrize("shape", [(1, 3, 8, 16), (1, 1, 16, 8)])
def test_a_bare_model_of_any_shape_is_measured(
    tmp_path: Path, shape: tuple[int, int, int, int]
) -> None:
    found = measured(brightest(tmp_path / "wide.onnx", shape))
    assert [r.name for r in found.results] == ["wide.onnx"]


def test_of_two_outputs_the_logits_are_as_many_as_the_labels(tmp_path: Path) -> None:
    path = with_two_outputs(tmp_path / "two.onnx")
    for labels, classes in ((0, 64), (3, 3), (64, 64)):
        classifier = load_model(path, model_format="onnx", threads=1, labels=labels)
        assert len(classifier.labels) == classes
    picture = np.full((8, 8), 192, np.uint8)  # (192 - 128) / 128 of the range
    classifier = load_model(path, model_format="onnx", threads=1, labels=3)
    assert classifier.interpreter(picture.reshape(1, 8, 8, 1)).tolist() == [0.5] * 3
    assert measured(path, labels=("a", "b", "c")).results[0].runs == 1


def test_labels_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    path = brightest(tmp_path / "some.onnx", (1, 3, 8, 8))
    with pytest.raises(BundleError, match=r"^some.onnx gives 3 numbers, but there are 2 labels$"):
        measured(path, labels=("a", "b"))


def test_labels_of_bundles_are_refused(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="a bundle has its own"):
        measured(tiny_bundle, labels=("a", "b"))


def test_weights_in_a_file_beside_it_count_as_its_size(tmp_path: Path, tiny_onnx: bytes) -> None:
    path = tmp_path / "apart.onnx"
    onnx.save_model(
        onnx.load_from_string(tiny_onnx), path,
        save_as_external_data=True, location="apart.data", size_threshold=0,
    )  # fmt: skip
    (result,) = measured(path).results
    assert (tmp_path / "apart.data").exists()
    assert result.parameters == tiny_models.STRIPES_PARAMETERS
    assert result.size_bytes > tiny_models.STRIPES_PARAMETERS * 4


def test_frames_of_a_video_are_classified(video: Path, tmp_path: Path) -> None:
    frames = video_frames(video)
    assert [frame.shape for frame in frames] == [(32, 128, 3)] * 12
    path = brightest(tmp_path / "some.onnx", (1, 3, 8, 8))
    out = tmp_path / "bench.json"
    words = [path, "--video", video, "--runs", "1", "--most-seconds", "0", "--out", out]
    done = CliRunner().invoke(command, [str(w) for w in words], catch_exceptions=False)
    assert "of the video drive.mp4, captured one by one" in " ".join(done.stdout.split())
    assert "of the video drive.mp4, captured one by one" in out.read_text()


def test_a_long_video_gives_frames_from_all_over_it(tmp_path: Path) -> None:
    path = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12, (16, 16))
    for number in range(150):
        writer.write(np.full((16, 16, 3), number, np.uint8))
    writer.release()
    shades = [int(frame.mean().round()) for frame in video_frames(path)]
    assert len(shades) == 50
    assert shades == pytest.approx(range(0, 150, 3), abs=3)


@pytest.mark.parametrize("content", [None, b"no video"])
def test_a_video_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "drive.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((DataError, OSError), match=r"drive.mp4 (is no video|cannot be opened)"):
        video_frames(path)
