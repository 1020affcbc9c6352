"""Networks drawn at random become int8 files that say nearly what torch says, and say it alike.

LEANSIGHT_NETWORKS=1000:1500 draws those of these seeds as well.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leansight.exporters.conversion.convert import convert
from leansight.exporters.conversion.inference import predict
from leansight.exporters.importers.onnx_reader import read_onnx
from leansight.exporters.importers.torch_program import write_network
from leansight.exporters.int8.calibrated_network import calibrate_network
from leansight.runtime.interpreter import load_interpreter
from leansight.runtime.preprocessing import Preprocessing

IMAGES = 16
KNOWN = (*range(6), 1049, 1108)  # a mean that is always zero; two equal clips
MORE = range(*map(int, os.environ.get("LEANSIGHT_NETWORKS", "0:0").split(":")))
SIZE = 32  # pixels
LARGEST_ATTENTION = 12  # pixels a side
MOST_CHANNELS = 32
Part = tuple[nn.Module, int]  # with the channels that it gives


class Written(nn.Module):
    """What is written by hand with some layers."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.layers)


class Drawn(nn.Module):
    """A network for pictures of 32 × 32 pixels and four classes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        drawn = random.Random(seed)  # noqa: S311 -- no secret
        channels = drawn.choice([4, 6, 8])
        parts = [nn.Conv2d(3, channels, 3, 2, 1), activation(drawn)]
        for _ in range(drawn.randint(2, 6)):
            before = nn.Sequential(*parts).eval()(torch.zeros(1, 3, SIZE, SIZE))
            part, channels = draw(drawn, channels, before.shape[2])
            parts.append(part)
        self.body = nn.Sequential(*parts)
        self.pool = drawn.choice(["mean", "maximum", "mean of places", "all places"])
        places = self.body.eval()(torch.zeros(1, 3, SIZE, SIZE))[0, 0].numel()
        self.head = nn.Linear(channels * (places if self.pool == "all places" else 1), 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        match self.pool:
            case "mean":
                x = functional.adaptive_avg_pool2d(x, 1)
            case "maximum":
                x = functional.adaptive_max_pool2d(x, 1)
            case "mean of places":
                x = x.flatten(2).mean(2)
        return self.head(x.flatten(1))  # type: ignore[no-any-return]


def activation(drawn: random.Random) -> nn.Module:
    known = [
        *(nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.GELU(), nn.GELU("tanh"), nn.Hardswish(), nn.ELU()),
        *(nn.LeakyReLU(0.1), nn.PReLU(), nn.Sigmoid(), nn.Tanh(), nn.Mish(), nn.Hardsigmoid()),
        *(nn.Softplus(), nn.Hardtanh(-1, 2), nn.Softsign(), nn.SELU(), nn.Identity()),
    ]
    written: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.clamp(-0.3, 0.7),
        lambda x: x.clamp(min=-0.2),
        lambda x: x * 0.7 + 0.1,
        lambda x: 2 - x / 3,
        torch.abs,
        lambda x: x * x,
        lambda x: torch.where(x > 0, x, 0.2 * x),
    ]
    return drawn.choice([*known, *map(Written, written)])


def draw(drawn: random.Random, channels: int, size: int) -> Part:
    """Return a part for (N, channels, size, size)."""
    kinds: list[Callable[[random.Random, int], Part]] = [convolution, residual, gated, joined]
    kinds += [activated, normalised, of_tokens, moved, resized]
    if channels % 2 == 0 and size <= LARGEST_ATTENTION:
        kinds.append(attention)
    return drawn.choice(kinds)(drawn, channels)


def conv(before: int, after: int, kernel: int = 3, **settings: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, **settings)


def convolution(drawn: random.Random, c: int) -> Part:
    after = min(drawn.choice([c, 2 * c, 8, 12]), MOST_CHANNELS)
    layer = drawn.choice([conv(c, after, 1), conv(c, after), conv(c, after, stride=2)])
    return nn.Sequential(layer, nn.BatchNorm2d(after), activation(drawn)), after


def residual(drawn: random.Random, c: int) -> Part:
    inner = nn.Sequential(conv(c, c, groups=c), activation(drawn), conv(c, c, 1))
    return Written(lambda x, inner, after: after(x + inner(x)), inner, activation(drawn)), c


def gated(drawn: random.Random, c: int) -> Part:
    if drawn.random() < 0.5:
        gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(c, 4, 1), nn.ReLU(), conv(4, c, 1))
        return Written(lambda x, gate: x * torch.sigmoid(gate(x)), gate), c
    return Written(lambda x, one: functional.glu(one(x), 1), conv(c, 2 * c, 1)), c


def joined(drawn: random.Random, c: int) -> Part:
    branches = conv(c, 4, 1), nn.Sequential(conv(c, 4), activation(drawn))
    return Written(lambda x, one, other: torch.cat([one(x), other(x)], 1), *branches), 8


def activated(drawn: random.Random, c: int) -> Part:
    return activation(drawn), c


def normalised(drawn: random.Random, c: int) -> Part:
    def of_channels(x: Tensor, norm: nn.Module) -> Tensor:
        turned: Tensor = norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return turned

    norms = [
        nn.Sequential(nn.BatchNorm2d(c), activation(drawn)),
        nn.GroupNorm(1, c),
        nn.InstanceNorm2d(c, affine=True),
        Written(of_channels, nn.LayerNorm(c)),
    ]
    return drawn.choice(norms), c


def of_tokens(drawn: random.Random, c: int) -> Part:
    dense = nn.Sequential(
        nn.LayerNorm(c), nn.Linear(c, 2 * c), activation(drawn), nn.Linear(2 * c, c)
    )
    return Written(
        lambda x, dense: dense(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape), dense
    ), c


def attention(drawn: random.Random, c: int) -> Part:
    def look(x: Tensor, heads: nn.Module) -> Tensor:
        tokens = x.flatten(2).permute(2, 0, 1)
        seen: Tensor = tokens + heads(tokens, tokens, tokens, need_weights=False)[0]
        return seen.permute(1, 2, 0).reshape(x.shape)

    del drawn
    return Written(look, nn.MultiheadAttention(c, 2)), c


def moved(drawn: random.Random, c: int) -> Part:
    pads = [nn.ReflectionPad2d(1), nn.ZeroPad2d((1, 0, 1, 0)), nn.ConstantPad2d(1, 0.5)]
    turns = [
        Written(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)),
        Written(lambda x: torch.roll(x, (1, 1), (2, 3))),
    ]
    return drawn.choice([*pads, *turns]), c


def resized(drawn: random.Random, c: int) -> Part:
    smaller = [nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, ceil_mode=True), nn.AvgPool2d(3, 2, 1)]
    larger = [
        nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ConvTranspose2d(c, c, 3, 2, 1, 1),
    ]
    return drawn.choice([*smaller, *larger]), c


def pictures() -> np.ndarray:
    """Return coarse coloured squares, which leave networks larger numbers than noise does."""
    coarse = np.random.default_rng(0).integers(0, 256, (IMAGES, 4, 4, 3), np.uint8)
    return coarse.repeat(SIZE // 4, 1).repeat(SIZE // 4, 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about what it traces
@pytest.mark.parametrize("seed", [*KNOWN, *MORE])
def test_a_drawn_network_is_one_int8_network_in_two_formats(seed: int, tmp_path: Path) -> None:
    network, pixels = Drawn(seed).eval(), pictures()
    with torch.no_grad():  # logits that differ from picture to picture
        network.head.weight *= 3
    write_network(network, (1, 3, SIZE, SIZE), tmp_path / "drawn.onnx")
    read = read_onnx(tmp_path / "drawn.onnx", size=None, channels=3)
    exact = predict(network, pixels)
    np.testing.assert_allclose(
        predict(read.network, pixels), exact, atol=1e-3 * np.abs(exact).max()
    )
    files = calibrate_network(
        convert(read.network, Preprocessing(size=SIZE)), pixels, lambda *_: None
    ).write()
    said = {}
    for kind, content in files.items():
        model = load_interpreter(content, kind, threads=1, name=kind)
        said[kind] = np.stack([model(one[None]).reshape(-1) for one in pixels])
    step = np.diff(np.unique(said["tflite"])).min(initial=np.inf)
    apart = np.abs(said["tflite"] - said["onnx"])
    assert (apart == 0).all(1).mean() > 0.7, "layers in float part them on few pictures"
    assert apart.max() <= 3 * step
    spread = exact.std(axis=0).mean()
    assert np.sqrt(((said["tflite"] - exact) ** 2).mean()) < 0.5 * spread + 2 * step
