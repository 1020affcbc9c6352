"""Batches of pixels give torch's logits, whatever a network's constants look like."""

import numpy as np
import torch
from torch import Tensor, nn

from leansight.exporters.conversion.inference import PREDICTION_BATCH, predict


class Windows(nn.Module):
    """Adds a constant of five axes, as a mask of windows has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.mask = nn.Buffer(torch.randn(1, 4, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.layer(x)[..., None] + self.mask).mean((2, 3, 4))  # type: ignore[no-any-return]


def test_more_than_a_batch_of_images_gives_the_same_as_one_by_one() -> None:
    network, count = Windows().eval(), PREDICTION_BATCH + 3
    pixels = np.random.default_rng(0).integers(0, 256, (count, 5, 5, 3), np.uint8)
    images = torch.from_numpy((pixels.astype(np.float32) - 128) / 128).permute(0, 3, 1, 2)
    with torch.inference_mode():
        exact = torch.cat([network(image[None]) for image in images]).numpy()
    seen: list[tuple[int, int]] = []
    logits = predict(network, pixels, lambda *done: seen.append(done))
    np.testing.assert_allclose(logits, exact, atol=1e-5)
    assert seen == [(PREDICTION_BATCH, count), (count, count)]
