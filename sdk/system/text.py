"""Lists as people read and write them."""

import sys
from collections.abc import Iterable
from io import TextIOWrapper
from typing import Final

import click

_NAMED: Final = 5


def first_five(names: Iterable[str]) -> str:
    """Return the first five names and how many more there are."""
    listed = list(names)
    more = f" (and {len(listed) - _NAMED} more)" if len(listed) > _NAMED else ""
    return "; ".join(listed[:_NAMED]) + more


def between_commas(values: Iterable[object]) -> str:
    """Return the values as a user writes a list in an option: 1,2,3."""
    return ",".join(map(str, values))


def no_formula(name: str) -> str:
    """Return a name as matplotlib writes it as it is: what stands between $ would be a formula."""
    return name.replace("$", r"\$")


def printable(text: object) -> str:
    """Return text on one line: control characters and the like, of names of files, are escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )


def plain_lines(text: object) -> str:
    """Return text of several lines, in each of which control characters and the like are escaped.

    What a bundle, a file or another machine says of itself must not steer the terminal.
    """
    return "\n".join(map(printable, str(text).split("\n")))


def echo(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Write lines to standard output, or to standard error, see `plain_lines`."""
    click.echo(plain_lines(text), err=err, nl=nl)


def escape_what_cannot_be_printed() -> None:
    """Let standard output escape, from now on, what its encoding lacks, as standard error does.

    Names of files that are no UTF-8 hold such characters.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
