"""Weight rounding by inputs: what one weight loses, the next ones of its row make up for.

GPTQ (Frantar et al., arXiv 2210.17323), after Hassibi & Stork's Optimal Brain Surgeon (NIPS 1992).
"""

from collections.abc import Mapping
from itertools import starmap
from operator import add
from typing import Any, Final

import torch
from torch import Tensor, fx
from torch.nn import functional

from leansight.exporters.conversion.any_number import for_any_number
from leansight.exporters.conversion.inference import batches
from leansight.exporters.conversion.torch_graph import (
    ATEN,
    both,
    layer_constants,
    layers,
)
from leansight.exporters.int8.efforts.equalisation import CountProgress
from leansight.exporters.int8.fake_quantization import FakeQuantizedNetwork, round_weights
from leansight.exporters.int8.write_tflite import LEVELS, SMALLEST_WIDTH
from leansight.runtime.preprocessing import Image

MOST_INPUTS: Final = 4608  # of a row of weights, 3 × 3 × 512: their covariances take 85 MB
IMAGES: Final = 128  # of calibration, at most
PLACES: Final = 4096  # of a batch of images that a layer looks at, at most
DAMPING: Final = 1e-3  # of the mean variance, added to each: few images do not tell all
BLOCK: Final = 64  # weights of a row whose losses are passed on to the rest together


@torch.no_grad()
def round_by_inputs(
    simulation: FakeQuantizedNetwork,
    folded: fx.GraphModule,
    pixels: Image,
    progress: CountProgress = lambda *_: None,
) -> None:
    """Round the weights of each layer so that what the layer gives for these images changes least.

    The steps of each channel stay, and so do its largest weights, which decide them. The mean of a
    channel may shift: its bias makes up for that (`bias_correction`). Rows of more than
    `MOST_INPUTS` weights stay as they are, to be rounded to the nearest.

    Args:
        simulation: gets the weights.
        folded: the float network that it simulates.
        pixels: of calibration (N, S, S, C) uint8.
        progress: told how many of how many layers are done.

    """
    shown = torch.linspace(0, len(pixels) - 1, min(IMAGES, len(pixels))).long().numpy()
    covariances = measure_covariances(folded, pixels[shown])
    weights = dict(simulation.network.named_parameters())
    for done, (name, covariance) in enumerate(covariances.items(), start=1):
        weights[name].copy_(round_by_covariance(weights[name], covariance))
        progress(done, len(covariances))


@torch.no_grad()
def measure_covariances(folded: fx.GraphModule, pixels: Image) -> Mapping[str, Tensor]:
    """Return the covariance (groups, D, D) of the D inputs of a row of weights, by their name.

    Of `PLACES` places of 16 images at most, drawn the same way each time.
    """
    sums: dict[str, list[Any]] = {}
    shifts: dict[str, Tensor] = {}  # about their means, or float32 has no digits left for variances
    drawn = torch.Generator().manual_seed(0)
    free = for_any_number(folded)
    chosen = set(layers(free))

    class Watcher(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            weight = layer_constants(free, n)[0] if n in chosen else None
            if weight is not None and weight[0].numel() <= MOST_INPUTS:
                inputs = self.fetch_args_kwargs_from_env(n)[0][0]
                columns = input_columns(n, weight, inputs, drawn)
                name = _name_of_weight(n)  # which several layers may share
                columns -= shifts.setdefault(name, columns.mean(2, keepdim=True))
                seen = [columns.shape[2], columns.sum(2), columns @ columns.transpose(1, 2)]
                before = sums.get(name)
                sums[name] = list(starmap(add, zip(before, seen, strict=True))) if before else seen
            return super().run_node(n)

    for _, batch in batches(pixels):
        Watcher(free).run(batch)
    return {
        name: products / number - (means := total / number)[:, :, None] * means[:, None, :]
        for name, (number, total, products) in sums.items()
    }


def input_columns(layer: fx.Node, weight: Tensor, inputs: Tensor, drawn: torch.Generator) -> Tensor:
    """Return what rows of a layer's weights are multiplied with, at places that are drawn.

    (groups, D, places): D is a row's weights; `inputs` (N, C, H, W), of a dense layer (N, ..., D).
    """
    if layer.target is ATEN.linear.default:
        rows = inputs.reshape(-1, inputs.shape[-1])
        return rows[_draw(len(rows), PLACES, drawn)].T[None]
    settings: list[Any] = list(layer.args[3:6])
    stride, padding, dilation = settings + [[1, 1], [0, 0], [1, 1]][len(settings) :]
    height, width = weight.shape[2:]
    (dy, dx), (sy, sx) = both(dilation), both(stride)
    padded = functional.pad(inputs, _borders(padding, (dy * (height - 1), dx * (width - 1))))
    tall = (padded.shape[2] - dy * (height - 1) - 1) // sy + 1
    wide = (padded.shape[3] - dx * (width - 1) - 1) // sx + 1
    places = _draw(tall * wide, max(1, PLACES // len(inputs)), drawn)
    rows = (places // wide * sy)[:, None] + torch.arange(height) * dy
    columns = (places % wide * sx)[:, None] + torch.arange(width) * dx
    patches = padded[:, :, rows[:, :, None], columns[:, None, :]]  # (N, C, places, h, w)
    groups = inputs.shape[1] // weight.shape[1]
    return patches.permute(1, 3, 4, 0, 2).reshape(groups, weight[0].numel(), -1)


def round_by_covariance(weight: Tensor, covariance: Tensor) -> Tensor:
    """Return weights (out, ...) on their int8 steps, given the covariance (groups, D, D) of inputs.

    One weight of all rows after the other, those of the most varying inputs first: what its
    rounding changes is made up for by the weights that are left.
    """
    groups, inputs, _ = covariance.shape
    variances = covariance.diagonal(dim1=1, dim2=2).double().mean(1)[:, None, None]
    scaled = covariance / torch.where(variances > 0, variances, 1) + DAMPING * torch.eye(inputs)
    order = scaled.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True)
    factor, failed = torch.linalg.cholesky_ex(scaled[:, order][:, :, order])
    if failed.any():  # inputs that vary by nothing but float32's rounding
        return round_weights(weight)
    passed_on = torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)
    rows = weight.double().reshape(groups, -1, inputs)[:, :, order]
    largest = rows.abs().amax(2, keepdim=True).clamp(min=SMALLEST_WIDTH)
    step, signs = largest / LEVELS, rows.sign() * (rows.abs() == largest)
    rounded, losses = torch.empty_like(rows), torch.empty_like(rows)
    for begin in range(0, inputs, BLOCK):
        end = min(begin + BLOCK, inputs)
        for i in range(begin, end):
            levels = (rows[:, :, i : i + 1] / step).round().clamp(-LEVELS, LEVELS)
            kept = signs[:, :, i : i + 1]
            rounded[:, :, i : i + 1] = torch.where(kept != 0, LEVELS * kept, levels) * step
            losses[:, :, i] = (rows[:, :, i] - rounded[:, :, i]) / passed_on[:, i, i, None]
            rows[:, :, i:end] -= losses[:, :, i, None] * passed_on[:, i, None, i:end]
        rows[:, :, end:] -= losses[:, :, begin:end] @ passed_on[:, begin:end, end:]
    result = torch.empty_like(rounded)
    result[:, :, order] = rounded
    return result.reshape(weight.shape).float()


def _name_of_weight(layer: fx.Node) -> str:
    node = layer.args[1]
    assert isinstance(node, fx.Node)
    return str(node.target)


def _borders(padding: object, reach: tuple[int, int]) -> list[int]:
    """Return how much to add left, right, above and below."""
    if isinstance(padding, str):
        up, left = (size // 2 if padding == "same" else 0 for size in reach)
        down, right = (size - size // 2 if padding == "same" else 0 for size in reach)
        return [left, right, up, down]
    vertical, horizontal = both(padding)
    return [horizontal, horizontal, vertical, vertical]


def _draw(number: int, most: int, drawn: torch.Generator) -> Tensor:
    return torch.randperm(number, generator=drawn)[:most]
