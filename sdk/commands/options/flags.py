"""The flag of the option that an error is about: the library knows only parameters."""

import errno
from typing import Final

import click

from leansight.exporters.options import ImportMistakeError
from leansight.runtime.errors import LeansightError
from leansight.sdk.system.text import printable

_ADVICE: Final = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EROFS: "choose another folder",
    errno.EACCES: "change its permissions, or choose another",
    errno.EPERM: "change its permissions, or choose another",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EEXIST: "choose another name, or remove it",
    errno.ENOTDIR: "a part of this path is a file: choose another",
    errno.EISDIR: "name a file",
    errno.EMFILE: "raise the limit, `ulimit -n 4096`",
}
# Characters of a line, and of its end, which says what to do.
_LONGEST: Final = 1500
_END: Final = 300


class FlagNamingGroup(click.Group):
    """A group of commands; an error of one gets a note with the flag of the option to blame."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command, and let its errors through."""
        try:
            return super().invoke(ctx)
        except LeansightError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            if command and (flags := _flags_of(command, error)):
                error.add_note(f"({flags})")
            raise


def _flags_of(command: click.Command, error: LeansightError) -> str:
    """Return what is to be typed otherwise: a flag, or flags with their values."""
    if isinstance(error, ImportMistakeError):
        typed = ((flag_of(command, name), value) for name, value in error.settings.items())
        return " ".join(f"{flag} {value}" for flag, value in typed if flag)
    return (flag_of(command, error.parameter) if error.parameter else None) or ""


def flag_of(command: click.Command, parameter: str) -> str | None:
    """Return the flag of the option that sets the parameter, None if there is none.

    An option sets the parameter of its own name, or of its flag's: `--max-drop` sets max_drop.
    """
    flag = f"--{parameter.replace('_', '-')}"
    options = [option for option in command.params if isinstance(option, click.Option)]
    for option in options:
        if option.name == parameter or flag in option.opts:
            return option.opts[-1]
    return None


def line_of(error: Exception) -> str:
    """Return the one line that the command line says of an error."""
    said = [_of_the_system(error) if isinstance(error, OSError) else str(error)]
    return _short(printable(" ".join(["leansight:", *said, *getattr(error, "__notes__", ())])))


def _short(line: str) -> str:
    """Return a line without its middle if somebody else's file has made it endless."""
    if len(line) <= _LONGEST:
        return line
    return f"{line[: _LONGEST - _END]} … {line[-_END:]}"


def _of_the_system(error: OSError) -> str:
    """Return the file, what the operating system says, and what to do where that is not plain."""
    if isinstance(error, LeansightError) or error.strerror is None:
        return str(error)
    where = " and ".join(str(name) for name in (error.filename, error.filename2) if name)
    advice = _ADVICE.get(error.errno or 0)
    return (
        f"{where}: " * bool(where)
        + f"{error.strerror[:1].lower()}{error.strerror[1:]}"
        + f": {advice}" * bool(advice)
    )
