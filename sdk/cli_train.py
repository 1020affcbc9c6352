"""`leansight train`: from labelled images to a run."""

from pathlib import Path

import click

from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed

PACKAGES = ("torch", "torchvision", "pytorch_lightning", "torchmetrics", "rich")


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    "recipe_name",
    default="traffic-signs-small",
    show_default=True,
    help="A recipe that ships with leansight, or your own .toml file.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the run.")
@click.option(
    "--test-on",
    default="",
    metavar="COUNTRY",
    help="Keep this country (DATA/COUNTRY/CLASS/IMAGE) for the test.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Short for --set training.epochs=N.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, such as training.learning_rate=0.05.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the unfinished run in --out; give the same options again.",
)
def command(
    data: Path,
    recipe_name: str,
    out: Path,
    test_on: str,
    epochs: int | None,
    overrides: tuple[str, ...],
    resume: bool,  # noqa: FBT001 -- click passes options by name
) -> None:
    """Train a classifier on DATA, a folder with one folder of images per class.

    \b
    leansight train photos/ --out run/
    leansight train signs/ --test-on southland --epochs 6 --out run/
    """
    check_installed(
        "torch", "torchvision", "pytorch_lightning", "torchmetrics", "rich", extra="train"
    )
    from leansight.sdk.recipe import load_recipe
    from leansight.sdk.training import train

    if out.exists() and any(out.iterdir()) and not resume:
        raise DataError(f"{out} is not empty: choose another --out, or go on with --resume")
    if epochs is not None:
        overrides = (*overrides, f"training.epochs={epochs}")
    run = train(data, load_recipe(recipe_name, overrides), out=out, test_on=test_on)
    for name, score in run.metrics.items():
        click.echo(f"{name}: {score:.4f}")
    click.echo(f"run: {out}")
