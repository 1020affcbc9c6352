"""Recipes by name or path, with single values changed."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from leansight.runtime.errors import DataError
from leansight.runtime.system.regular_files import read_regular
from leansight.sdk.recipes.schema import Recipe

_MOST_BYTES: Final = 1 << 20  # of a recipe's file


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with leansight."""
    return sorted(_shipped())


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by its name, or a user's by its path.

    Each override is KEY=VALUE with a dotted key and a TOML value, such as
    `training.epochs=3` or `model.name=resnet-custom` (a bare word is a string).

    Raises:
        DataError: no such recipe, no valid TOML, or a key or value that does not fit.

    """
    try:
        values = tomllib.loads(recipe_text(name_or_path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"recipe {name_or_path}: {error}") from error
    return _overridden(name_or_path, values, overrides)


def override(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Return the recipe with other values, KEY=VALUE as in `load_recipe`; DataError likewise."""
    return _overridden(recipe.name, recipe.to_dict(), overrides)


def recipe_text(name_or_path: str) -> str:
    """Return the TOML of a shipped recipe or of a file; DataError if there is none."""
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.is_file():
            raise DataError(f"recipe {path} does not exist", parameter="recipe")
        return _read(path)
    shipped = _shipped()
    if name_or_path not in shipped:
        names = ", ".join(sorted(shipped))
        raise DataError(
            f"no recipe {name_or_path}: there are {names}, or give a .toml file",
            parameter="recipe",
        )
    return shipped[name_or_path].read_text()


def _read(path: Path) -> str:
    try:
        return read_regular(path, _MOST_BYTES).decode()
    except ValueError as error:
        raise DataError(f"recipe {path}: {error}", parameter="recipe") from error


def _shipped() -> dict[str, Traversable]:
    """Return the files by name; those in `published` follow their systems to the letter."""
    own = resources.files("leansight.sdk.recipes")
    files = [file for folder in (own, own / "published") for file in folder.iterdir()]
    return {f.name.removesuffix(".toml"): f for f in files if f.name.endswith(".toml")}


def _overridden(name: str, values: dict[str, Any], overrides: Sequence[str]) -> Recipe:
    for change in overrides:
        _override(values, change)
    try:
        return Recipe.from_dict(values)
    except (ValueError, TypeError) as error:
        raise DataError(f"recipe {name}: {error}") from error


def _override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise DataError(
            f"{override}: expected KEY=VALUE, such as training.epochs=3", parameter="overrides"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    *tables, last = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise DataError(f"{override}: {table} is a value, not a table", parameter="overrides")
    values[last] = value
