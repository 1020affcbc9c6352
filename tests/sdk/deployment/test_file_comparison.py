"""What torch and the file say differently is held against what float32 itself changes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.normalisation import Normalisation
from leansight.exporters.importers.onnx_reader import OnnxClassifier
from leansight.exporters.options import StepProgress
from leansight.sdk.deployment.file_comparison import require_same

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)


class Noisy(nn.Module):
    """The means of each channel; in float32 they are off by a share."""

    def __init__(self, noise: float) -> None:
        super().__init__()
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3))
        return means if x.dtype == torch.float64 else means + self.noise


@dataclass(frozen=True, kw_only=True)
class Shifted(OnnxClassifier):
    """A file that gives the means, and a shift."""

    shift: float

    def run(
        self,
        images: Iterable[NDArray[np.float32]],
        progress: Callable[[int], None] = lambda _: None,
    ) -> NDArray[np.float64]:
        progress(1)
        return np.stack([image.mean((0, 1)) for image in images]) + self.shift


def differ(
    *,
    noise: float,
    shift: float,
    pixels: NDArray[np.uint8] = PIXELS,
    progress: StepProgress = lambda *_: None,
) -> float:
    classifier = Shifted(
        name="far.onnx",
        network=fx.symbolic_trace(nn.Identity()),
        model=b"",
        input="image",
        size=4,
        channels=3,
        outputs=3,
        channels_last=False,
        end="logits",
        shift=shift,
    )
    same = Normalisation(mean=(128.0,), std=(128.0,))
    return require_same(classifier, Noisy(noise), same, pixels, progress)


def test_what_is_equal_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert differ(noise=0.0, shift=0.0) < 1e-6
    assert capsys.readouterr() == ("", "")


def test_a_difference_that_float32_does_not_explain_is_an_error() -> None:
    with pytest.raises(ConversionError, match=r"far.onnx in ONNX Runtime, by 0\.\d+, of which"):
        differ(noise=0.0, shift=0.1)


def test_float_noise_is_told_and_no_accusation(capsys: pytest.CaptureFixture[str]) -> None:
    assert differ(noise=0.05, shift=0.0) > 1e-3
    assert "far.onnx is ill-conditioned: float32 alone changes" in capsys.readouterr().err


def test_probabilities_that_are_read_as_logits_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    halves = np.broadcast_to(np.array([192, 160, 160], np.uint8), PIXELS.shape)
    differ(noise=0.0, shift=0.0, pixels=halves)
    assert "far.onnx gives numbers that sum to 1 for every image" in capsys.readouterr().err
    differ(noise=0.0, shift=0.0, pixels=halves - np.uint8(1))
    assert capsys.readouterr().err == ""


def test_of_many_images_some_are_compared() -> None:
    totals: set[int] = set()
    pixels = np.resize(PIXELS, (1000, 4, 4, 3))
    differ(noise=0.0, shift=0.0, pixels=pixels, progress=lambda _, __, n: totals.add(n))
    assert totals == {2 * 125}  # every eighth image, in torch and in the file


@pytest.mark.parametrize("shift", [np.nan, np.inf])
def test_a_file_that_gives_no_numbers_is_told_from_a_wrong_conversion(shift: float) -> None:
    with pytest.raises(ConversionError, match="gives NaN or infinite numbers for 20 of 20 images"):
        differ(noise=0.0, shift=shift)
