"""Pixels are normalised as the network from elsewhere wants them."""

import pytest
import torch
from torch import Tensor, nn

from leansight.exporters.importers.normalisation import Normalisation, normalised

IMAGENET = Normalisation(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


class Seen(nn.Module):
    """Gives its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def seen(normalisation: Normalisation, pixel: tuple[int, int, int]) -> list[float]:
    """Return what a network is given of one RGB pixel."""
    network = normalised(Seen(), normalisation, channels=3)
    ours = (torch.tensor(pixel, dtype=torch.float32) - 128) / 128
    with torch.inference_mode():
        return network(ours.reshape(1, 3, 1, 1)).flatten().tolist()


def test_pixels_are_normalised_as_the_network_wants_them() -> None:
    by_hand = [(200 - 123.675) / 58.395, (0 - 116.28) / 57.12, (255 - 103.53) / 57.375]
    assert seen(IMAGENET, (200, 0, 255)) == pytest.approx(by_hand, abs=1e-6)
    assert seen(Normalisation(mean=(0,), std=(255,)), (0, 51, 255)) == pytest.approx([0, 0.2, 1])
    caffe = Normalisation(mean=(103.939, 116.779, 123.68), std=(1,), bgr=True)
    assert seen(caffe, (10, 20, 30)) == pytest.approx([-73.939, -96.779, -113.68], abs=1e-4)


def test_a_network_that_wants_what_ours_want_stays_as_it_is() -> None:
    network = Seen()
    found = normalised(network, Normalisation(mean=(128,), std=(128,)), channels=3)
    assert list(found.children()) == [network]


def test_a_normalisation_of_other_units_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiply both by 255 \(std 58.395,57.12,57.375\)"):
        Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    with pytest.raises(ValueError, match="finite numbers"):
        Normalisation(mean=(float("nan"),), std=(255,))
    with pytest.raises(ValueError, match="mean is one number or 3, not 2"):
        normalised(Seen(), Normalisation(mean=(1, 2), std=(255,)), channels=3)
