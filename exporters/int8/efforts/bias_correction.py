"""Bias correction: what rounding shifts in the mean of a channel goes into its bias."""

import numpy as np
import torch
from torch import Tensor, fx

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.inference import batches
from leansight.exporters.conversion.torch_graph import (
    layer_constants,
    layers,
    watch,
)
from leansight.exporters.int8.fake_quantization import FakeQuantizedNetwork
from leansight.runtime.preprocessing import Image

FEWEST, MOST, PIXELS = 32, 128, 3 << 20  # images, and pixels of all of them


@torch.no_grad()
def correct_biases(simulation: FakeQuantizedNetwork, folded: fx.GraphModule, pixels: Image) -> None:
    """Let each channel of each layer give on average what it gives in float.

    Rounded weights shift the mean of what they are multiplied with (Nagel et al., arXiv
    1906.04721, section 4.2). One pass: each layer is corrected before the next one is run, on as
    many of the images (N, H, W, C) as `PIXELS` allows.
    """
    number = int(np.clip(PIXELS // (pixels.shape[1] * pixels.shape[2]), FEWEST, MOST))
    shown = np.linspace(0, len(pixels) - 1, min(number, len(pixels))).astype(int)
    ((_, images),) = batches(pixels[shown], len(shown))
    expected: dict[str, Tensor] = {}
    names = {node.name for node in layers(folded)}

    def record(name: str, values: Tensor) -> None:
        if name in names:
            expected[name] = _channel_means(values)

    watch(for_any_number(folded), images, record)

    class Corrector(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Tensor:
            result: Tensor = super().run_node(n)
            _, bias = layer_constants(self.module, n) if n.name in expected else (None, None)
            if bias is not None:
                missing = expected[n.name] - _channel_means(result)
                bias += missing
                result = result + missing.reshape(-1, *(1,) * (result.ndim - 2))
            return result

    Corrector(simulation.network).run(images)


def _channel_means(values: Tensor) -> Tensor:
    """Return the mean of each channel of (N, C, ...)."""
    return values.transpose(0, 1).flatten(1).mean(1)
