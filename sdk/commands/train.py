"""`leansight train`: from labelled images to a run."""

from pathlib import Path

import click

from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed
from leansight.runtime.system.whole_files import part_name
from leansight.sdk.commands.interruption import resume_command, stopped_in_one_line
from leansight.sdk.commands.options.images import (
    PATH,
    skip_bad_option,
    videos_option,
    videos_override,
)
from leansight.sdk.commands.options.modules import TRAINING_MODULES
from leansight.sdk.commands.options.training import (
    bank_option,
    bank_views_option,
    recipe_option,
    set_option,
    teachers_option,
    test_on_option,
    weights_option,
    workers_option,
)
from leansight.sdk.system.files import require_writable
from leansight.sdk.system.text import echo


@click.command()
@click.argument("data", type=PATH, required=False)
@recipe_option
@click.option("--out", type=PATH, required=True, help="Folder to write the run to.")
@test_on_option
@click.option(
    "--lists",
    type=PATH,
    metavar="RUN",
    help="Use the same train, validation and test images as another run.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Number of epochs; short for --set training.epochs=N.",
)
@set_option
@weights_option
@teachers_option
@bank_option
@bank_views_option
@skip_bad_option
@videos_option
@click.option("--everything", is_flag=True, help="Learn from the validation images as well.")
@click.option("--no-test", is_flag=True, help="Keep the test images out, and do not score them.")
@click.option("--resume", is_flag=True, help="Go on with the unfinished run in --out.")
@workers_option
@click.option(
    "--accelerator",
    default="auto",
    show_default=True,
    help="Accelerator for Lightning: cpu, gpu …",
)
@click.option("--devices", default="auto", show_default=True, help="Number of devices per machine.")
@click.option("--nodes", default=1, show_default=True, help="Number of machines.")
@click.option(
    "--strategy",
    default="auto",
    show_default=True,
    help="Strategy for Lightning: ddp, fsdp …",
)
def command(
    *,
    data: Path | None,
    recipe_name: str,
    out: Path,
    test_on: str,
    lists: Path | None,
    epochs: int | None,
    overrides: tuple[str, ...],
    weights: tuple[Path, ...],
    teachers: tuple[Path, ...],
    bank: Path | None,
    bank_views: int,
    skip_bad: bool,
    videos: str | None,
    everything: bool,
    no_test: bool,
    resume: bool,
    workers: int,
    accelerator: str,
    devices: str,
    nodes: int,
    strategy: str,
) -> None:
    """Train a classifier on DATA, a folder with one folder of images per class, or a CSV file.

    \b
    leansight train photos/ --out run/
    leansight train signs/ --recipe traffic-signs-small --test-on southland --out run/
    leansight train --resume --out run/
    """
    check_installed(*TRAINING_MODULES, extra="train")
    require_writable(out)
    if bank:
        require_writable(bank, "bank")
    from leansight.sdk.recipes.load import load_recipe
    from leansight.sdk.runs.run import TrainingOptions, describe_metric
    from leansight.sdk.training.train import train
    from leansight.sdk.training.trainer import Hardware

    data = _data_of(out, data, resume=resume)
    if epochs is not None:
        overrides = (*overrides, f"training.epochs={epochs}")
    overrides += videos_override(videos)
    with stopped_in_one_line(lambda: _how_to_go_on(out)):
        run = train(
            data,
            load_recipe(recipe_name, overrides),
            out=out,
            options=TrainingOptions(
                test_on=test_on,
                lists=lists,
                weights=weights,
                teachers=teachers,
                bank=bank,
                bank_views=bank_views,
                skip_bad=skip_bad,
                everything=everything,
                score_test=not no_test,
            ),
            hardware=Hardware(
                accelerator=accelerator,
                devices=devices,
                nodes=nodes,
                strategy=strategy,
                workers=workers,
            ),
        )
    for name, score in run.metrics.items():
        echo(f"{describe_metric(name, run.recipe.task)}: {score:.4f}")
    echo(f"run: {out}")


def _how_to_go_on(out: Path) -> str:
    from leansight.sdk.runs.run import RunConfig

    if RunConfig.exists(out):
        return f"go on with `{resume_command(out)}`"
    return "nothing has begun: give the same command again, with --resume"


def _data_of(out: Path, data: Path | None, *, resume: bool) -> Path:
    """Return where the images are; DataError if no run can begin, or go on, in `out`."""
    from leansight.sdk.runs.begin import is_first_process
    from leansight.sdk.runs.run import LISTS, LOCK, RunConfig

    if (out / "run.json").exists() and resume:
        raise DataError(f"{out} has finished: choose another --out")
    # Where a training has several processes, the others come to what the first has begun.
    begun = {p.name for p in out.iterdir()} if out.exists() and is_first_process() else set()
    # A kill before start.json was written leaves lists alone: nothing to go on with, nor to lose.
    parts = {part_name(name) for name in (*LISTS, "start.json")}
    if begun - LISTS - parts - {LOCK} and not (resume and RunConfig.exists(out)):
        hint = "it holds no unfinished run" if resume else "go on with --resume"
        raise DataError(f"{out} is not empty: choose another --out ({hint})")
    if data is not None:
        return data
    if not RunConfig.exists(out):
        raise DataError("name the folder of labelled images: leansight train DATA --out RUN")
    return RunConfig.load(out).data
