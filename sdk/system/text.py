"""Lists as people read and write them."""

from collections.abc import Iterable
from typing import Final

_NAMED: Final = 5


def first_five(names: Iterable[str]) -> str:
    """Return the first five names and how many more there are."""
    listed = list(names)
    more = f" (and {len(listed) - _NAMED} more)" if len(listed) > _NAMED else ""
    return "; ".join(listed[:_NAMED]) + more


def between_commas(values: Iterable[object]) -> str:
    """Return the values as a user writes a list in an option: 1,2,3."""
    return ",".join(map(str, values))
