"""How a command ends: with an exit code and at most one line, whatever has gone wrong."""

import atexit
import logging
import os
import re
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

import click

from leansight.runtime.errors import LeansightError
from leansight.sdk.commands.options.flags import line_of
from leansight.sdk.system.text import echo

FAILED: Final = 1
INTERRUPTED: Final = 130  # the exit code that shells expect after Ctrl-C
READER_GONE: Final = 141  # 128 + SIGPIPE: of a program whose reader, such as `head`, has gone
# torch raises RuntimeError where there is no memory, OpenCV cv2.error.
_NO_MEMORY: Final = re.compile("can't allocate memory|out of memory|Insufficient memory")


def quick_end() -> Callable[[int], NoReturn]:
    """Return what ends this process with an exit code; call `quick_end` before all else.

    What is registered with `atexit` is called as ever, but no library is taken apart: for that,
    those of an export read 125 MB of their files, which is the peak of its memory, and take 1 s.
    """
    exit_code = FAILED

    def leave() -> None:  # registered first, and so called last
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # the exit code has told it
                stream.flush()
        os._exit(exit_code)

    def end(code: int) -> NoReturn:
        nonlocal exit_code
        exit_code = code
        sys.exit(code)

    atexit.register(leave)
    return end


def exit_code_of(command: Callable[[], object], library_log: Callable[[], str]) -> int:
    """Run a command of click to its end, and return the exit code of the process.

    What went wrong is told in one line on standard error. `library_log` returns what libraries
    have logged, for the report of an error that was not foreseen.
    """
    code = FAILED
    try:
        command()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else FAILED
    except BrokenPipeError:
        code = READER_GONE
    except (LeansightError, OSError) as error:
        _tell(error)
    except Exception as error:
        if sys.warnoptions:  # somebody debugs
            raise
        _tell(_unforeseen(error, library_log))
    return _with_empty_buffer(code)


def _tell(error: Exception) -> None:
    """Tell an error; where standard error is a file on a full disk too, the code alone tells."""
    with suppress(OSError):
        echo(line_of(error), err=True)


@contextmanager
def past_click() -> Iterator[None]:
    """Let pass what click would end in a way of its own: Ctrl-C, and a reader that has gone."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        echo("stopped", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from stop
    except BrokenPipeError as error:
        raise click.exceptions.Exit(READER_GONE) from error
    except EOFError as error:  # of a damaged file: click takes it for Ctrl-D
        raise RuntimeError(f"EOFError: {error}") from error


def _unforeseen(error: Exception, library_log: Callable[[], str]) -> LeansightError:
    """Return what to tell of an error; what a developer needs goes into a file."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return LeansightError(f"there is not enough memory ({what}): end other programs")
    with tempfile.NamedTemporaryFile(
        *("w", -1, "utf-8"), prefix="leansight-", suffix=".log", delete=False, errors="replace"
    ) as report:
        report.write(f"{shlex.join(sys.argv)}\n{library_log()}\n")
        traceback.print_exception(error, file=report)
    command = shlex.join(["leansight", *sys.argv[1:]])
    return LeansightError(
        f"`{command}` failed in a way that was not foreseen, {what}: please report it, with "
        f"{report.name}"
    )


def _with_empty_buffer(code: int) -> int:
    """Drop what cannot be written any more, which Python would try again, with a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE if isinstance(error, BrokenPipeError) else FAILED
    return code
