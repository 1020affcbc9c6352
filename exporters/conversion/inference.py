"""Batched inference: pixels into a torch network, logits out."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leansight.exporters.conversion.torch_graph import IMAGE_AXES
from leansight.runtime.preprocessing import Image, network_input

PREDICTION_BATCH = 16


def batches(pixels: Image, size: int = PREDICTION_BATCH) -> Iterator[tuple[int, Tensor]]:
    """Give images (N, S, S, C) uint8 as torch's inputs (B, C, S, S), and how many are given.

    In small batches and channels last: on two cores four times as fast as 256 at once, whose
    activations leave the processor's cache.
    """
    for first in range(0, len(pixels), size):
        batch = torch.from_numpy(network_input(pixels[first : first + size]))
        yield first + len(batch), batch.permute(0, 3, 1, 2)


@torch.no_grad()
def predict(
    network: nn.Module, pixels: Image, progress: Callable[[int, int], None] = lambda *_: None
) -> NDArray[np.float32]:
    """Return torch's logits (N, K) float32 for (N, S, S, C) uint8 pixels."""
    for constant in (*network.eval().parameters(), *network.buffers()):
        if constant.ndim == IMAGE_AXES:
            constant.data = constant.data.contiguous(memory_format=torch.channels_last)
    logits = []
    for done, batch in batches(pixels):
        logits.append(network(batch))
        progress(done, len(pixels))
    return torch.cat(logits).numpy()


@torch.no_grad()
def predict_precisely(network: nn.Module, pixels: Image) -> NDArray[np.float64]:
    """Return logits (N, K) computed in float64, which leaves the network as it is."""
    double = copy.deepcopy(network).eval().double()
    logits = torch.cat([double(batch.double()) for _, batch in batches(pixels)])
    return np.asarray(logits.numpy(), np.float64)
