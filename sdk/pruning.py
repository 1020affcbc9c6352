"""Prune a run: channels are taken out of its network, which then learns from what it was."""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from leansight.benchmarks.measure import Machine, find_models, measure
from leansight.benchmarks.remote import machine_at
from leansight.exporters.convert import PREDICTION_BATCH, convert
from leansight.exporters.int8 import quantize
from leansight.exporters.pruning import (
    Importance,
    Loss,
    count_macs,
    measure_sensitivity,
    prune,
    score_channels,
    search,
    spread_evenly,
    spread_globally,
)
from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.errors import DataError
from leansight.sdk.cli_bench import synthetic_image
from leansight.sdk.data import Labelled
from leansight.sdk.exporting import draw, read_images, step_bars
from leansight.sdk.models import network_input
from leansight.sdk.recipe import Recipe, override
from leansight.sdk.run import Options, Run
from leansight.sdk.task import label_loss
from leansight.sdk.training import Hardware, train

Kind = Literal["share", "global share", "macs", "size", "latency"]

HEAD: Final = ("head",)  # whose channels are the classes
PRUNED: Final = "pruned.safetensors"  # the network before it is trained again
_CALIBRATION_IMAGES: Final = 32  # for size and latency, which do not depend on the ranges
_WARM_UPS: Final = 5  # before each of the rounds of `measure`
_RUNS: Final = 100
# Of the run's own training: what was learnt is not to be forgotten.
_RATE_SHARE: Final = 0.3
_EPOCHS_SHARE: Final = 0.4


@dataclass(frozen=True, kw_only=True)
class Target:
    """How small the network is to be.

    `value`: the share of channels that go (0 to 1) of every group, or of all of them wherever
    they matter least; or how many multiply-accumulates, bytes of the int8 file or milliseconds
    (int8 TFLite, one thread, median) may be left; milliseconds of this machine, or of the one that
    `on` and `remote_python` name (see `machine_at`).
    """

    kind: Kind
    value: float
    on: str | None = None
    remote_python: str | None = None

    def __post_init__(self) -> None:
        if self.kind != "latency" and (self.on, self.remote_python) != (None, None):
            raise DataError("--on is for --latency: nothing else is measured on a machine")


def prune_run(
    path: Path,
    *,
    out: Path,
    target: Target,
    importance: Importance,
    images: int,
    steps: int,
    overrides: Sequence[str],
    data: Path | None,
    hardware: Hardware,
) -> Run:
    """Make a smaller run in `out` from the finished one at `path`, which teaches it.

    In several `steps` the network is pruned a part of the way, trained, and pruned again; the
    runs between are in `out`/step-1 and so on. `images` are drawn from the training images to
    measure what channels are worth. `overrides` change the recipe of the training that follows.

    Raises:
        DataError: the run has not finished, or its images have gone.
        PruningError: the target cannot be reached.

    """
    run = Run.load(path)
    root = data or run.data
    sample = read_images(run, root, draw(run.split().train, images), "training")
    # One that was pruned before has a shorter, gentler training already.
    after = run.recipe if (path / PRUNED).exists() else _recipe_after(run.recipe)
    recipe = override(after, overrides)
    part = _share_of_the_way(target, run, sample, steps)
    for step in range(1, steps + 1):
        folder = out if step == steps else out / f"step-{step}"
        if (folder / "run.json").exists():  # of a call that was interrupted
            run = Run.load(folder)
            continue
        network = prune_network(run, part(step), importance, sample)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / PRUNED
        save_file({n: t.contiguous() for n, t in network.state_dict().items()}, file)
        run = train(
            root,
            recipe,
            out=folder,
            options=Options(lists=path, teacher=path, network=file, score_test=False),
            hardware=hardware,
        )
    return run


def prune_network(run: Run, target: Target, importance: Importance, sample: Labelled) -> nn.Module:
    """Return the run's network with fewer channels, not yet trained again.

    `sample`: prepared training images, on which the loss is measured.
    """
    network = run.network()
    example = _example(run)
    loss = _loss_on(sample, run.recipe)
    groups = score_channels(network, example, outputs=HEAD, importance=importance, loss=loss)

    def cut(channels: Mapping[str, int]) -> nn.Module:
        return prune(network, example, groups, channels, outputs=HEAD)

    match target.kind:
        case "share":
            return cut(spread_evenly(groups, target.value))
        case "global share":
            return cut(spread_globally(groups, target.value))
    # Connected first: what that lacks is said before the long part.
    with machine_at(target.on, target.remote_python) as machine, step_bars() as progress:
        cuts = measure_sensitivity(
            network,
            example,
            groups,
            outputs=HEAD,
            loss=loss,
            progress=lambda n, of: progress("measuring each layer's worth", n, of),
        )
        tried = itertools.count(1)

        def cost_of(channels: Mapping[str, int]) -> float:
            found = cost(cut(channels), target.kind, run, sample, machine)
            progress("trying what is small enough", next(tried), 1 + len(cuts).bit_length())
            return found

        return cut(search(cuts, cost_of, target.value))


def cost(network: nn.Module, kind: Kind, run: Run, sample: Labelled, machine: Machine) -> float:
    """Return the multiply-accumulates, bytes or milliseconds of a network of the run's kind.

    Milliseconds are those of the machine, as `leansight bench` measures them.
    """
    preprocessing = run.recipe.preprocessing
    if kind == "macs":
        return count_macs(network, _example(run))
    pixels = sample.pixels[:_CALIBRATION_IMAGES]
    model = quantize(convert(network, preprocessing), pixels, lambda *_: None)["tflite"]
    if kind == "size":
        return len(model)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Bundle(
            path=Path(folder) / "pruned.bundle",
            name=run.recipe.name,
            task=run.recipe.task,
            labels=run.labels,
            preprocessing=preprocessing,
            decision=run.recipe.decision,
            precision="int8",
        )
        models = find_models([write_bundle(bundle, {"model.tflite": model}).path])
        image = synthetic_image()
        (result,) = measure(models, image, runs=_RUNS, warmup=_WARM_UPS, on=machine)
    return result.latency_ms.inference.p50


def _example(run: Run) -> Tensor:
    preprocessing = run.recipe.preprocessing
    return torch.zeros(1, preprocessing.channels, preprocessing.size, preprocessing.size)


def _share_of_the_way(
    target: Target, run: Run, sample: Labelled, steps: int
) -> Callable[[int], Target]:
    """Return the target of each step: every one takes away the same part of what is left."""
    if target.kind in {"share", "global share"}:
        each = replace(target, value=1 - (1 - target.value) ** (1 / steps))
        return lambda _: each
    if steps == 1:
        return lambda _: target
    with machine_at(target.on, target.remote_python) as machine:
        whole = cost(run.network(), target.kind, run, sample, machine)
    factor = target.value / whole
    return lambda step: replace(target, value=whole * factor ** (step / steps))


def _recipe_after(recipe: Recipe) -> Recipe:
    """Return the recipe of the training after pruning: shorter, gentler, of all layers."""
    training = recipe.training
    return replace(
        recipe,
        model=replace(recipe.model, pretrained=False),
        training=replace(
            training,
            epochs=max(1, round(_EPOCHS_SHARE * training.epochs)),
            learning_rate=_RATE_SHARE * training.learning_rate,
            find_learning_rate=False,
            half_size_share=0.0,
            trainable_layers=-1,
        ),
    )


def _loss_on(sample: Labelled, recipe: Recipe) -> Loss:
    """Return a function that gives a network's mean loss on the images, batch by batch."""
    pixels = torch.from_numpy(sample.pixels).permute(0, 3, 1, 2)
    targets = torch.from_numpy(sample.classes)

    def loss(network: nn.Module) -> Iterator[Tensor]:
        for first in range(0, len(pixels), PREDICTION_BATCH):
            batch = slice(first, first + PREDICTION_BATCH)
            logits = network(network_input(pixels[batch]))
            even = torch.ones(logits.shape[1])
            share = len(logits) / len(pixels)
            yield share * label_loss(logits, targets[batch], recipe, even)

    return loss
