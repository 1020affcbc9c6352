"""`leansight prune`: a smaller network from a trained one."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed
from leansight.runtime.system.whole_files import part_name
from leansight.sdk.commands.interruption import (
    AGAIN,
    resume_command,
    stopped_in_one_line,
)
from leansight.sdk.commands.options.grouping import options_of
from leansight.sdk.commands.options.images import PATH, require_images
from leansight.sdk.commands.options.modules import EXPORT_MODULES, TRAINING_MODULES
from leansight.sdk.commands.options.remote import on_option, remote_python_option
from leansight.sdk.commands.options.training import set_option, workers_option
from leansight.sdk.system.files import require_writable
from leansight.sdk.system.text import echo

if TYPE_CHECKING:
    from leansight.exporters.pruning.channels import Importance
    from leansight.sdk.pruning.target import Kind
    from leansight.sdk.runs.run import Run

_NUMBER: Final = re.compile(r"([0-9.]+)\s*([A-Za-z%]*)")
_STEP: Final = re.compile(r"step-[0-9]+")


class _Amount(click.ParamType[float]):
    """A number with a unit: 60M, 200KB, 1.5ms, 50%.

    `units`: what each is worth, by its name in capitals; "" is a number alone. The amount is more
    than 0 and less than `below`.
    """

    def __init__(self, name: str, units: Mapping[str, float], below: float = math.inf) -> None:
        self.name = name
        self._below = below
        self._units = units

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, in shares, multiply-accumulates, bytes or milliseconds."""
        number, unit = found.groups() if (found := _NUMBER.fullmatch(value.strip())) else ("", "")
        try:
            amount = float(number) * self._units[unit.upper()]
        except (ValueError, KeyError):
            amount = 0.0
        if not 0 < amount < self._below:
            self.fail(f"{value!r} is not an amount such as {self.name}", param, ctx)
        return amount


_SHARE: Final = _Amount("0.5 or 50%", {"": 1.0, "%": 0.01}, below=1.0)


@dataclass(frozen=True, kw_only=True)
class SizeTarget:
    """What the options say of how small, None where they say nothing."""

    share: float | None
    global_share: float | None
    macs: float | None
    size: float | None
    latency: float | None

    def one(self) -> tuple["Kind", float]:
        """Return the only one that is given; DataError for none or more."""
        kinds: dict[Kind, float | None] = {
            "share": self.share,
            "global share": self.global_share,
            "macs": self.macs,
            "size": self.size,
            "latency": self.latency,
        }
        given = [(kind, value) for kind, value in kinds.items() if value]
        if len(given) != 1:
            raise DataError(
                "say how small: one of --share, --global-share, --macs, --size, --latency"
            )
        return given[0]


size_options = options_of(
    SizeTarget,
    "goal",
    (
        click.option(
            "--share",
            type=_SHARE,
            metavar="0.5",
            help="Share of the channels of every layer to take out; 50% is the same.",
        ),
        click.option(
            "--global-share",
            type=_SHARE,
            metavar="0.5",
            help="Share of all channels to take out, wherever they matter least.",
        ),
        click.option(
            "--macs",
            type=_Amount("60M", {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}),
            help="Most multiply-accumulates that may be left.",
        ),
        # No number alone: of 200 nobody knows whether it is bytes.
        click.option(
            "--size",
            type=_Amount("200KB", {"KB": 1e3, "MB": 1e6}),
            help="Largest size of the int8 TFLite file.",
        ),
        click.option(
            "--latency",
            type=_Amount("1.0ms", {"": 1.0, "MS": 1.0}),
            metavar="1.0ms",
            help="Longest median latency of the int8 TFLite file, with one thread, on this machine "
            "(or --on another).",
        ),
    ),
)


@click.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, required=True, help="Folder to write the smaller run to.")
@size_options
@on_option
@remote_python_option
@click.option(
    "--importance",
    type=click.Choice(["taylor", "magnitude", "bn-scale"]),
    default="taylor",
    show_default=True,
    help="How the importance of a channel is measured: by the loss without it, by the size of its "
    "weights, or by its batch norm's factor.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of times to prune and train, each a part of the way.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Training images on which the importance of channels is measured.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Epochs of each training.  [default: 0.4 of RUN's]",
)
@set_option
@click.option(
    "--data",
    type=PATH,
    help="Folder of the labelled images, if they have moved since the training.",
)
@workers_option
def command(
    *,
    run: Path,
    out: Path,
    goal: SizeTarget,
    on: str | None,
    remote_python: str | None,
    importance: "Importance",
    steps: int,
    images: int,
    epochs: int | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workers: int,
) -> None:
    """Prune channels of the network of RUN and train it again, with RUN as its teacher.

    One of --share, --global-share, --macs, --size and --latency says how many channels go. For
    the last three, each layer is first cut alone, to see which can spare most. The result is a
    run like any other. To go on after a kill or Ctrl-C, give the same command again.

    \b
    leansight prune run/ --macs 60M --out small/
    leansight prune run/ --share 0.5 --out half/
    leansight prune run/ --latency 1.0ms --on pi@raspberrypi.local --out fast/
    """
    check_installed(*TRAINING_MODULES, *EXPORT_MODULES, "torch_pruning", extra="all")
    require_writable(out)
    kind, value = goal.one()
    require_images(data)
    _refuse_taken(out)
    from leansight.sdk.pruning.prune import prune_run
    from leansight.sdk.pruning.target import PruningTarget
    from leansight.sdk.runs.run import Run
    from leansight.sdk.training.trainer import Hardware

    target = PruningTarget(kind=kind, value=value, on=on, remote_python=remote_python)
    before = Run.load(run)
    if epochs is not None:
        overrides = (*overrides, f"training.epochs={epochs}")
    with stopped_in_one_line(lambda: AGAIN):
        pruned = prune_run(
            run,
            out=out,
            target=target,
            importance=importance,
            images=images,
            steps=steps,
            overrides=overrides,
            data=data,
            hardware=Hardware(workers=workers),
        )
    _report(before, pruned)


def _refuse_taken(out: Path) -> None:
    """Raise DataError if there is anything at `out` but what an interrupted call has left."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: choose another --out")
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    if "run.json" in there:
        raise DataError(f"{out} holds a finished run: choose another --out")
    from leansight.sdk.pruning.prune import ASKED, PRUNED
    from leansight.sdk.pruning.prune import LOCK as PRUNING_LOCK
    from leansight.sdk.runs.run import LISTS, LOCK

    if ASKED in there:
        return
    if "start.json" in there:
        raise DataError(
            f"{out} holds a run that has not finished: go on with "
            f"`{resume_command(out)}`, or choose another --out"
        )
    own = LISTS | {PRUNED, ASKED, LOCK, PRUNING_LOCK}
    own |= {part_name(name) for name in own}
    if strange := sorted(name for name in there - own if not _STEP.fullmatch(name)):
        raise DataError(f"{out} is not empty ({strange[0]}): choose another --out")


def _macs(run: "Run") -> int:
    import torch

    from leansight.exporters.pruning.channels import count_macs

    images, height, width, channels = run.recipe.preprocessing.shape
    return count_macs(run.network(), torch.zeros(images, channels, height, width))


def _report(before: "Run", pruned: "Run") -> None:
    """Print what is left of the network, and its scores, beside what there was."""
    from leansight.benchmarks.results.table import scaled
    from leansight.sdk.runs.run import describe_metric

    counts = {"parameters": _parameters, "multiply-accumulates": _macs}
    for what, count in counts.items():
        echo(f"{what}: {scaled(count(pruned)).strip()} (of {scaled(count(before)).strip()})")
    for name, score in pruned.metrics.items():
        was = f" (before: {before.metrics[name]:.4f})" if name in before.metrics else ""
        echo(f"{describe_metric(name, pruned.recipe.task)}: {score:.4f}{was}")
    echo(f"run: {pruned.path}")


def _parameters(run: "Run") -> int:
    return sum(parameter.numel() for parameter in run.network().parameters())
