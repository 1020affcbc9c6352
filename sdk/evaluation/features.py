"""What a network has learnt to see: first filters, what they make of an image, a feature map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from torch import Tensor, nn

from leansight.exporters.conversion.inference import batches
from leansight.runtime.preprocessing import Image, Preprocessing
from leansight.sdk.data.images import images_folder, read_sample
from leansight.sdk.data.samples import Sample

MAPPED: Final = 1000  # images on the map of features: enough to see, few enough to wait for
_LEAST: Final = 4  # images of which a map can be made


def read_some(
    root: Path, samples: Sequence[Sample], preprocessing: Preprocessing
) -> tuple[Image, list[int]]:
    """Return up to `MAPPED` images evenly chosen, (N, S, S, C) uint8, and their positions."""
    chosen = np.unique(np.linspace(0, len(samples) - 1, MAPPED).round().astype(int)).tolist()
    folder = images_folder(root)
    images = [preprocessing(read_sample(folder, samples[index])) for index in chosen]
    return np.concatenate(images), chosen


def first_filters(network: nn.Module) -> NDArray[np.float32]:
    """Return the weights of the first convolution, (filters, channels, height, width)."""
    filters: NDArray[np.float32] = _first_convolution(network).weight.detach().numpy()
    return filters


def first_activations(network: nn.Module, image: Image) -> NDArray[np.float32]:
    """Return what the first convolution makes of one image (S, S, C), (filters, H, W)."""
    (seen,) = _record(network, _first_convolution(network), image[None], output=True)
    return np.asarray(seen[0])


def map_features(network: nn.Module, pixels: Image, *, seed: int = 0) -> NDArray[np.float32] | None:
    """Return where each image (N, S, S, C) lies on a plane that keeps neighbours, (N, 2).

    t-SNE (van der Maaten and Hinton, JMLR 2008) of what the last dense layer is given. None for
    fewer images than make a map, or a network without a dense layer.
    """
    dense = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if len(pixels) < _LEAST or not dense:
        return None
    features = np.concatenate(_record(network, dense[-1], pixels, output=False))
    perplexity = min(30, (len(pixels) - 1) / 3)
    points: NDArray[np.float32] = TSNE(
        perplexity=perplexity, init="pca", random_state=seed
    ).fit_transform(features)
    return points


def _first_convolution(network: nn.Module) -> nn.Conv2d:
    return next(module for module in network.modules() if isinstance(module, nn.Conv2d))


@torch.inference_mode()
def _record(
    network: nn.Module, layer: nn.Module, pixels: Image, *, output: bool
) -> list[NDArray[np.float32]]:
    """Return what a layer is given, or gives, for each batch of images (N, S, S, C) uint8."""
    seen: list[NDArray[np.float32]] = []

    def keep(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        seen.append((made if output else given[0]).numpy().copy())

    handle = layer.register_forward_hook(keep)
    try:
        for _, batch in batches(pixels):
            network.eval()(batch)
    finally:
        handle.remove()
    return seen
