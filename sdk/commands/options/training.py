"""Options of every command that trains."""

from pathlib import Path

import click

from leansight.sdk.commands.options.images import PATH

recipe_option = click.option(
    "--recipe",
    "recipe_name",
    default="photos",
    show_default=True,
    help="A recipe that ships with leansight (see `leansight recipes`), or your own .toml file.",
)
test_on_option = click.option(
    "--test-on", default="", metavar="COUNTRY", help="Keep DATA/COUNTRY for the test."
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
    help="Pretrained weights, for where they cannot be downloaded (once for each body).",
)
teacher_option = click.option(
    "--teacher", type=PATH, metavar="RUN", help="Learn from this finished run as well."
)
