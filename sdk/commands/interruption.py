"""How long work ends that is interrupted: in one line that says how to go on."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from leansight.sdk.commands.ending import INTERRUPTED
from leansight.sdk.system.text import echo
from leansight.sdk.training.errors import ReaderError

AGAIN: Final = "give the same command again to go on where it was"


@contextmanager
def stopped_in_one_line(hint: Callable[[], str]) -> Iterator[None]:
    """End the command after Ctrl-C, or the death of a reader, with what `hint` then says.

    Within a training Lightning takes the Ctrl-C, and exits with 1 without a word.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and stop.code != 1:
            raise
        echo(f"stopped: {hint()}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except ReaderError as error:
        error.add_note(f"({hint()})")
        raise


def resume_command(out: Path) -> str:
    """Return what to type to go on with the training in `out`."""
    return shlex.join(["leansight", "train", "--resume", "--out", str(out)])
