"""Structured pruning of a run, and fine-tuning with the unpruned network as teacher."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from leansight.benchmarks.remote import machine_at
from leansight.exporters.conversion.convert import example_image
from leansight.exporters.conversion.inference import batches
from leansight.exporters.errors import PruningError
from leansight.exporters.pruning.allocation import spread_evenly, spread_globally
from leansight.exporters.pruning.channels import Importance, Loss, prune, score_channels
from leansight.runtime.errors import DataError
from leansight.sdk.data.images import ImageSet
from leansight.sdk.data.samples import draw
from leansight.sdk.pruning.target import HEAD, PruningTarget, cost, prune_to_target
from leansight.sdk.recipes.load import override
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.images import find_images, read_part
from leansight.sdk.runs.run import Run, RunConfig, TrainingOptions, write_weights
from leansight.sdk.system.definition import require_same
from leansight.sdk.system.files import write_json
from leansight.sdk.system.isolated_process import how_it_ended, run_in_own_process
from leansight.sdk.system.locks import exclusive
from leansight.sdk.system.progress import step_bars
from leansight.sdk.training.losses import label_loss
from leansight.sdk.training.train import train
from leansight.sdk.training.trainer import Hardware

PRUNED: Final = "pruned.safetensors"  # the network before it is trained again
ASKED: Final = "prune.json"  # what was asked for, once there is something to go on with
LOCK: Final = "prune.lock"  # held by the process that prunes
# Of the run's own training: what was learnt is not to be forgotten.
_RATE_SHARE: Final = 0.3
_EPOCHS_SHARE: Final = 0.4
_CONVERTED: Final = ("size", "latency")  # to find out what is left
_SPREADS: Final = {"share": spread_evenly, "global share": spread_globally}


def prune_run(
    path: Path,
    *,
    out: Path,
    target: PruningTarget,
    importance: Importance,
    images: int,
    steps: int,
    overrides: Sequence[str],
    bank: Path | None = None,
    bank_views: int = 10,
    data: Path | None,
    hardware: Hardware,
) -> Run:
    """Make a smaller run in `out` from the finished one at `path`, which teaches it.

    In several `steps` the network is pruned a part of the way, trained, and pruned again; the
    runs between are in `out`/step-1 and so on. `images` are drawn from the training images to
    measure what channels are worth. `overrides` change the recipe of the training that follows,
    which reads `bank_views` views of each image from the folder `bank`, if there is one.

    Where an earlier call with the same arguments was interrupted, this one goes on.

    Raises:
        DataError: the run has not finished, its images have gone, it is as small already, or
            `out` was begun with other arguments or is in use by another process.
        PruningError: the target cannot be reached.

    """
    run = Run.load(path)
    root = find_images(run, data)
    # One that was pruned before has a shorter, gentler training already.
    after = run.recipe if (path / PRUNED).exists() else _recipe_after(run.recipe)
    recipe = override(after, overrides)
    how = {"importance": importance, "images": images, "steps": steps, "set": [*overrides]}
    views = {"bank": str(bank.resolve()), "bank_views": bank_views} if bank else {}
    asked = _asked(path, root, target, how | views)
    with exclusive(out / LOCK):
        _refuse_others(out, asked)
        for step in range(1, steps + 1):
            folder = out if step == steps else out / f"step-{step}"
            if (folder / "run.json").exists():
                run = Run.load(folder)
                continue
            file = folder / PRUNED
            if not RunConfig.exists(folder):  # else its training goes on
                write = partial(write_pruned, file, run, root, target, importance, images)
                make = partial(write, step=step, steps=steps)
                _convert_elsewhere(make) if target.kind in _CONVERTED else make()
                write_json(out / ASKED, asked)
            run = train(
                root,
                recipe,
                out=folder,
                options=TrainingOptions(
                    lists=path,
                    teachers=(path,),
                    bank=bank,
                    bank_views=bank_views,
                    network=file,
                    score_test=False,
                ),
                hardware=hardware,
            )
    return run


def write_pruned(
    file: Path,
    run: Run,
    root: Path,
    target: PruningTarget,
    importance: Importance,
    images: int,
    *,
    step: int,
    steps: int,
) -> None:
    """Write the weights of the run's network with fewer channels, see `prune_network`."""
    sample = read_part(run, root, draw(run.split().train, images), "training")
    network = prune_network(run, target, importance, sample, step=step, steps=steps)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_weights(network, file)


def prune_network(
    run: Run,
    target: PruningTarget,
    importance: Importance,
    sample: ImageSet,
    *,
    step: int = 1,
    steps: int = 1,
) -> nn.Module:
    """Return the run's network with fewer channels, not yet trained again.

    `sample`: prepared training images, on which the loss is measured. Every one of several
    `steps` takes away the same part of what is left.

    Raises:
        DataError: the target is reached before the first step.
        PruningError: the target cannot be reached.

    """
    network, example = run.network(), example_image(run.recipe.preprocessing)
    loss = _loss_on(sample, run.recipe)
    score = partial(score_channels, network, example, outputs=HEAD, importance=importance)
    if target.kind in _SPREADS:
        groups = score(loss=loss)
        kept = _SPREADS[target.kind](groups, 1 - (1 - target.value) ** (1 / steps))
        return prune(network, example, groups, kept, outputs=HEAD)
    # Connected first: what that lacks is said before the long part.
    with machine_at(target.on, target.remote_python) as machine, step_bars() as progress:
        cost_of = partial(cost, kind=target.kind, run=run, sample=sample, machine=machine)
        progress("measuring the whole network", 0, 1)
        there = cost_of(network)
        progress("measuring the whole network", 1, 1)
        if step == 1 and there <= target.value:
            raise DataError(f"{run.path} is at {target.say(there)} already: ask for less")
        way = 1 / (steps - step + 1)
        part = replace(target, value=there ** (1 - way) * target.value**way)
        return prune_to_target(part, network, example, score(loss=loss), loss, cost_of, progress)


def _convert_elsewhere(make: Callable[[], None]) -> None:
    """Call it in a process of its own: JAX, which converts, and forked readers do not agree."""
    run_in_own_process(make, died=lambda code: PruningError(f"pruning: {how_it_ended(code)}"))


def _asked(run: Path, data: Path, target: PruningTarget, how: dict[str, Any]) -> dict[str, Any]:
    """Return what was asked for: plain JSON values."""
    wanted = {target.kind.replace(" ", "-"): target.value, "on": target.on}
    return {"RUN": str(run.resolve())} | wanted | {"data": str(data.resolve())} | how


def _refuse_others(out: Path, asked: Mapping[str, Any]) -> None:
    """Raise DataError if pruning has begun in `out`, but something else was asked for."""
    file = out / ASKED
    if not file.is_file():
        return
    try:
        # Earlier versions wrote the names of options.
        values = dict(json.loads(file.read_text()))
        earlier = {name.removeprefix("--"): value for name, value in values.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file} is damaged: {error}") from error
    require_same(earlier, asked, out)


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


def _loss_on(sample: ImageSet, recipe: Recipe) -> Loss:
    """Return a function that gives a network's mean loss on the images, batch by batch."""
    targets = torch.from_numpy(sample.classes)

    def loss(network: nn.Module) -> Iterator[Tensor]:
        for done, batch in batches(sample.pixels):
            logits = network(batch)
            even = torch.ones(logits.shape[1])
            share = len(batch) / len(targets)
            yield share * label_loss(logits, targets[done - len(batch) : done], recipe, even)

    return loss
