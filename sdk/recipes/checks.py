"""A value of a recipe is checked; the message names its key."""

from collections.abc import Sequence
from typing import Final

MAX_COUNT: Final = 1 << 16  # of channels, blocks or images in a batch: more is a slip


def check(fits: bool, name: str, value: object, expected: str) -> None:  # noqa: FBT001 -- a condition, as in assert
    """Raise ValueError if the value of the key `name` does not fit what is `expected`."""
    if not fits:
        raise ValueError(f"{name} must be {expected}, not {value}")


def check_one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise ValueError if the value of the key `name` is not among those allowed."""
    check(value in allowed, name, repr(value), f"one of {', '.join(allowed)}")
