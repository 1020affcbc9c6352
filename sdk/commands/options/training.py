"""Options of every command that trains, and the arguments of a training in a study."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leansight.sdk.commands.options.images import PATH

if TYPE_CHECKING:
    from leansight.sdk.studies.grid import Cell, Study

recipe_option = click.option(
    "--recipe",
    "recipe_name",
    default="photos",
    show_default=True,
    help="A recipe that ships with leansight (see `leansight recipes`), or your own .toml file.",
)
test_on_option = click.option(
    "--test-on",
    default="",
    metavar="COUNTRY",
    help="Keep the images of DATA/COUNTRY as the test images.",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the recipe, such as training.learning_rate=0.05.",
)
weights_option = click.option(
    "--weights",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="File of pretrained weights, instead of a download; repeat it for each body.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Processes that read and augment the images.",
)
teachers_option = click.option(
    "--teacher",
    "teachers",
    type=PATH,
    multiple=True,
    metavar="RUN",
    help="Learn from this finished run as well as from the labels (distillation); of several, "
    "from the mean of their probabilities.",
)
bank_option = click.option(
    "--bank",
    type=PATH,
    metavar="FOLDER",
    help="Read augmented views of the images, with the teachers' answers, from this folder. What "
    "it lacks is made first; other trainings can use it again.",
)
bank_views_option = click.option(
    "--bank-views",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Number of views of each image in the bank.",
)


def train_arguments(
    study: "Study", cell: "Cell", *, out: Path, everything: bool
) -> tuple[str, ...]:
    """Return what `leansight train` is given for a cell.

    The images of the test are left out and not looked at, unless it trains on `everything`:
    that is the winner, which is tested. What is learnt differs with the fold, and so does the bank.
    """
    bank: tuple[str, ...] = ()
    if study.bank:
        folder = study.bank / ("everything" if everything else f"fold{cell.fold}")
        bank = ("--bank", str(folder), "--bank-views", str(study.bank_views))
    return (
        str(study.data),
        *("--recipe", study.recipe, "--out", str(out), "--resume"),
        *(("--test-on", study.test_on) if study.test_on else ()),
        *_repeated("--set", study.settings(cell)),
        *_repeated("--weights", map(str, study.weights)),
        *_repeated("--teacher", map(str, study.teachers)),
        *bank,
        *(("--skip-bad",) if study.skip_bad else ()),
        "--everything" if everything else "--no-test",
    )


def _repeated(option: str, values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield from (option, value)
