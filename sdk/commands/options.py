"""Options that a command takes together, as one object."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from typing import TYPE_CHECKING, Any

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
        def gathered(**values: Any) -> None:  # noqa: ANN401 -- click's, by their names
            together = kind(**{field: values.pop(field) for field in names})
            command(**{name: together}, **values)

        complete: Command = gathered
        for option in reversed(options):
            complete = option(complete)
        return complete

    return add
