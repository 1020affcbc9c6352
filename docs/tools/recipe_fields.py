"""The reference of a recipe's fields, from the dataclasses that read them."""

import dataclasses
import inspect
from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from leansight.sdk.augmentation.catalogue import CHANGES
from leansight.sdk.recipes.schema import Recipe


def lines() -> Iterator[str]:
    """Yield Markdown: the top of a recipe, each of its tables, each change of images."""
    yield from _table("The top of the file", "recipe", "", Recipe)
    for name, kind in get_type_hints(Recipe).items():
        if dataclasses.is_dataclass(kind):
            yield from _table(f"[{name}]", name, f"{name}.", kind)
    yield from ("## [[augmentation]] and [[shift]] { #augmentation }", "")
    yield from ("Each entry names its `change`; the changes are made in the order given.", "")
    for kind_of_change, change in CHANGES.items():
        yield from _table(f'change = "{kind_of_change}"', kind_of_change, "", change, "###")


def _table(title: str, anchor: str, prefix: str, kind: Any, level: str = "##") -> Iterator[str]:  # noqa: ANN401 -- a class
    """Yield one table of the file: what it is, and its fields."""
    yield from (f"{level} {title} {{ #{anchor} }}", "", inspect.cleandoc(kind.__doc__), "")
    hints = get_type_hints(kind)
    inner = {name: found for name, hint in hints.items() if (found := _dataclass_in(hint))}
    for field in dataclasses.fields(kind):
        if prefix or field.name not in inner:
            meaning = _values(hints[field.name]) + _default(field)
            yield from (f"`{prefix}{field.name}`", f":   {meaning}", "")
    if prefix:  # those of the top have sections of their own
        for name, found in inner.items():
            yield from _table(f"{prefix}{name}", name, f"{prefix}{name}.", found, level + "#")


def _dataclass_in(hint: Any) -> Any:  # noqa: ANN401 -- a type
    """Return the dataclass of a field such as `Clahe | None`, else None."""
    kinds = (hint, *get_args(hint))
    return next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        return f"; default {_toml(field.default)}"
    if field.default_factory is not dataclasses.MISSING:
        return f"; default {_toml(field.default_factory())}"
    return "; required"


def _toml(value: object) -> str:
    """Return a value as a recipe writes it."""
    match value:
        case None:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'`"{value}"`'
        case tuple():
            return f"`{list(value)}`"
        case _:
            return f"`{value}`"


def _values(hint: Any) -> str:  # noqa: ANN401 -- a type
    """Say in words what a field takes."""
    simple = {bool: "`true` or `false`", int: "a whole number", float: "a number", str: "a text"}
    if hint in simple:
        return simple[hint]
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(f'`"{value}"`' for value in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list, each of it {_values(get_args(hint)[0])}"
    if NoneType not in get_args(hint) and len(get_args(hint)) > 1:
        return ", or ".join(map(_values, get_args(hint)))
    return "a table, or left out" if NoneType in get_args(hint) else "a table"
