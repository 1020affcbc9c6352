"""Options that a command takes together, as one object."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
Command = Callable[..., None]


def options_of(
    kind: "type[DataclassInstance]", name: str, options: Sequence[Callable[[Command], Command]]
) -> Callable[[Command], Command]:
    """Return a decorator that adds options; the command gets their values as one `kind`.

    `kind`: a dataclass with a field for each option; `name`: as what the command takes it.
    """
    names = [field.name for field in fields(kind)]

    def add(command: Command) -> Command:
        @wraps(command)
        def gathered(**values: object) -> None:
            try:
                together = kind(**{field: values.pop(field) for field in names})
            except ValueError as error:
                raise click.UsageError(str(error)) from error
            command(**{name: together}, **values)

        complete: Command = gathered
        for option in reversed(options):
            complete = option(complete)
        return complete

    return add


class Several(click.ParamType[tuple[Any, ...]]):
    """Values between commas: 8,16."""

    def __init__(self, kind: type[int] | type[float] | type[str], name: str) -> None:
        self.name = name
        self._kind = kind

    def convert(
        self,
        value: "str | tuple[Any, ...]",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[Any, ...]:
        """Return the values."""
        if isinstance(value, tuple):  # a default
            return value
        try:
            return tuple(self._kind(part.strip()) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list such as {self.name}", param, ctx)
