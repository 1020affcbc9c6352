"""The flag of the option that an error is about: the library knows only parameters."""

import click

from leansight.exporters.options import ImportMistakeError
from leansight.runtime.errors import LeansightError


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
    return " ".join([f"leansight: {error}", *getattr(error, "__notes__", ())])
