"""`leansight recipes`: what can be trained by name, and a file to start one's own from."""

import json
from collections.abc import Sequence

import click

from leansight.sdk.recipes.load import load_recipe, recipe_names, recipe_text
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.system.text import echo


@click.command(epilog="Example: leansight recipes photos > my-recipe.toml")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the list, or the one recipe, as JSON.")
def command(
    *,
    name: str | None,
    as_json: bool,
) -> None:
    """List the recipes that ship with leansight, or print the TOML file of NAME.

    The column "system" names the published system that a recipe follows. Train with
    `leansight train DATA --recipe NAME`, or with a changed copy: `--recipe my-recipe.toml`.
    """
    if name is not None:
        recipe = load_recipe(name)
        text = json.dumps(recipe.to_dict(), indent=2) + "\n" if as_json else recipe_text(name)
        echo(text, nl=False)
        return
    rows = [_row(load_recipe(each)) for each in recipe_names()]
    if as_json:
        echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print_table(rows)


def _row(recipe: Recipe) -> dict[str, str]:
    pixels = recipe.preprocessing
    edges = " + edges" if pixels.difference_of_gaussians else ""
    return {
        "name": recipe.name,
        "system": recipe.system,
        "task": recipe.task,
        "model": recipe.model.name,
        "input": f"{pixels.size_text} {pixels.colour}{edges}",
        "description": recipe.description,
    }


def _print_table(rows: Sequence[dict[str, str]]) -> None:
    """Print aligned columns, and each description on a line of its own: it fits 90 columns."""
    *columns, last = rows[0]
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in columns]
    for row in ({name: name for name in rows[0]}, *rows):
        cells = (row[name] or "-" for name in columns)
        echo("  ".join(map(str.ljust, cells, widths)).rstrip())
        echo(f"    {row[last]}")
