"""Quantization-aware training (QAT): weights and ranges learn, taught by the float network."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from leansight.exporters.conversion.inference import batches, predict
from leansight.exporters.int8.efforts.equalisation import CountProgress
from leansight.exporters.int8.fake_quantization import FakeQuantizedNetwork
from leansight.runtime.preprocessing import Image

BATCH: Final = 32
PART: Final = 4  # of a batch, whose activations are in memory at a time
WEIGHT_RATE: Final = 3e-5  # of Adam, at its peak: what was learnt is not to be forgotten
BOUND_RATE: Final = 1e-3  # the same, as a part of each grid's range


def fine_tune(
    simulation: FakeQuantizedNetwork,
    exact: nn.Module,
    pixels: Image,
    *,
    epochs: int,
    seed: int = 0,
    progress: CountProgress = lambda *_: None,
) -> None:
    """Train weights, biases and ranges under fake quantization towards the float network's logits.

    QAT (Jacob et al., arXiv 1712.05877) with folded batch norms and distillation of the float
    network, logit by logit (Ba & Caruana, arXiv 1312.6184): it needs no labels.

    Args:
        simulation: learns in place.
        exact: the float network.
        pixels: images of training (N, S, S, C) uint8.
        epochs: how often each image is shown.
        seed: of the images' order.
        progress: told how many of how many batches are done.

    """
    teacher = torch.from_numpy(predict(exact, pixels))
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(_groups(simulation))
    steps = count_steps(len(pixels), epochs=1)
    rates = [group["lr"] for group in optimiser.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rates, total_steps=max(4, epochs * steps), pct_start=0.3
    )
    for epoch in range(epochs):
        order = torch.randperm(len(pixels), generator=generator)
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            optimiser.zero_grad()
            _add_gradients(simulation, pixels[chosen.numpy()], teacher[chosen])
            optimiser.step()
            schedule.step()
            progress(epoch * steps + step + 1, epochs * steps)


def count_steps(images: int, epochs: int) -> int:
    """Return how many batches are learnt from."""
    return epochs * max(1, images // BATCH)


def _add_gradients(simulation: FakeQuantizedNetwork, pixels: Image, expected: Tensor) -> None:
    """Add the gradients of the mean squared error of logits (N, K), part by part."""
    for end, images in batches(pixels, PART):
        wanted = expected[end - len(images) : end]
        squares = functional.mse_loss(simulation(images), wanted, reduction="sum")
        torch.autograd.backward(squares / expected.numel())


def _groups(simulation: FakeQuantizedNetwork) -> list[dict[str, object]]:
    """Return the parameters with their rates: a grid's bounds move in parts of its range."""
    grids = simulation.grids.values()
    zeros, widths = [grid.zero for grid in grids], dict.fromkeys(grid.width for grid in grids)
    bounds = {*zeros, *widths}
    return [
        {"params": [p for p in simulation.parameters() if p not in bounds], "lr": WEIGHT_RATE},
        {"params": zeros, "lr": BOUND_RATE},
        *({"params": [w], "lr": max(BOUND_RATE * w.item(), 1e-12)} for w in widths),
    ]
