"""`leansight prune`: a smaller network from a trained one."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed
from leansight.sdk.cli_bench import on_option, remote_python_option
from leansight.sdk.cli_export import PACKAGES as EXPORT_PACKAGES
from leansight.sdk.cli_train import PACKAGES as TRAIN_PACKAGES
from leansight.sdk.cli_train import set_option

if TYPE_CHECKING:
    from leansight.exporters.pruning import Importance
    from leansight.sdk.pruning import Kind

_PATH = click.Path(path_type=Path)
_UNITS: Final = {"K": 1e3, "M": 1e6, "G": 1e9, "KB": 1e3, "MB": 1e6, "MS": 1.0}


class _Amount(click.ParamType[float]):
    """A number with a unit: 60M, 200KB, 1.5ms."""

    def __init__(self, name: str, units: tuple[str, ...]) -> None:
        self.name = name
        self._units = units

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, in multiply-accumulates, bytes or milliseconds."""
        digits = value.rstrip("KMGBSkmgbs")
        unit = value[len(digits) :].upper()
        try:
            amount = float(digits) * (_UNITS[unit] if unit in self._units else float(not unit))
        except ValueError:
            amount = 0.0
        if amount <= 0:
            self.fail(f"{value!r} is not an amount such as {self.name}", param, ctx)
        return amount


@click.command()
@click.argument("run", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="Folder for the smaller run.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of the channels of every layer that go.",
)
@click.option(
    "--global-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of all channels that go, wherever they matter least.",
)
@click.option("--macs", type=_Amount("60M", ("K", "M", "G")), help="Multiply-accumulates left.")
@click.option("--size", type=_Amount("200KB", ("KB", "MB")), help="Of the int8 TFLite file.")
@click.option(
    "--latency",
    type=_Amount("1.0ms", ("MS",)),
    metavar="1.0ms",
    help="Of the int8 TFLite file on this machine (or --on another), one thread, median.",
)
@on_option
@remote_python_option
@click.option(
    "--importance",
    type=click.Choice(["taylor", "magnitude", "bn-scale"]),
    default="taylor",
    show_default=True,
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Prune and train so many times, each a part of the way.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Training images that tell what channels are worth.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Of each training; by default 0.4 of the run's."
)
@set_option
@click.option("--data", type=_PATH, help="Where the images are now, if they have moved.")
@click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True)
def command(
    *,
    run: Path,
    out: Path,
    share: float | None,
    global_share: float | None,
    macs: float | None,
    size: float | None,
    latency: float | None,
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
    """Take channels out of the network of RUN and train it again; RUN is its teacher.

    How many: say one of --share, --global-share, --macs, --size, --latency. For the last three
    each layer is cut alone, to see which can spare most. The result is a run like any other.

    \b
    leansight prune run/ --macs 60M --out small/
    leansight prune run/ --share 0.5 --out half/
    leansight prune run/ --latency 1.0ms --on pi@raspberrypi.local --out fast/
    """
    check_installed(*TRAIN_PACKAGES, *EXPORT_PACKAGES, "torch_pruning", extra="all")
    from leansight.sdk.pruning import Target, prune_run
    from leansight.sdk.training import Hardware

    wanted: dict[Kind, float | None] = {
        "share": share,
        "global share": global_share,
        "macs": macs,
        "size": size,
        "latency": latency,
    }
    place = {"on": on, "remote_python": remote_python}
    given = [Target(kind=kind, value=value, **place) for kind, value in wanted.items() if value]
    if len(given) != 1:
        raise DataError("say how small: one of --share, --global-share, --macs, --size, --latency")
    if (out / "start.json").exists():
        raise DataError(f"{out} holds a run: choose another --out, or leansight train --resume")
    if epochs is not None:
        overrides = (*overrides, f"training.epochs={epochs}")
    pruned = prune_run(
        run,
        out=out,
        target=given[0],
        importance=importance,
        images=images,
        steps=steps,
        overrides=overrides,
        data=data,
        hardware=Hardware(workers=workers),
    )
    for name, score in pruned.metrics.items():
        click.echo(f"{name}: {score:.4f}")
    click.echo(f"run: {out}")
