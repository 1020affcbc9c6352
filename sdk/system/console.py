"""Where progress and tables for people go: standard error, so that standard output is results."""

import functools

from rich.console import Console

from leansight.sdk.system.text import plain_lines


@functools.cache
def console() -> Console:
    """Return the one console on standard error, made at its first use."""
    return Console(stderr=True)


def tell(line: str) -> None:
    """Write a line to the console: names of files and classes in it are no markup."""
    console().print(plain_lines(line), soft_wrap=True, highlight=False, markup=False)
