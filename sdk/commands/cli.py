"""The `leansight` command: a table of sub-commands, each imported when it is called."""

import importlib
from typing import Final

import click

from leansight.runtime.extras import without_telemetry
from leansight.runtime.system.collector import importing
from leansight.sdk.commands.ending import exit_code_of, past_click, quick_end
from leansight.sdk.commands.options.flags import FlagNamingGroup
from leansight.sdk.system.library_logs import without_library_logs
from leansight.sdk.system.text import escape_what_cannot_be_printed

# Name of each sub-command and the file that holds it, so that the command starts
# fast and works on a Pi that has only the base install.
COMMANDS: Final = {
    "data": "leansight.sdk.commands.data",
    "recipes": "leansight.sdk.commands.recipes",
    "train": "leansight.sdk.commands.train",
    "study": "leansight.sdk.commands.study",
    "prune": "leansight.sdk.commands.prune",
    "optimize": "leansight.sdk.commands.optimize",
    "evaluate": "leansight.sdk.commands.evaluate",
    "export": "leansight.sdk.commands.export",
    "certify": "leansight.sdk.commands.certify",
    "classify": "leansight.sdk.commands.classify",
    "stream": "leansight.sdk.commands.camera.stream",
    "label": "leansight.sdk.commands.camera.label",
    "service": "leansight.sdk.commands.camera.service",
    "bench": "leansight.sdk.commands.bench",
    "check": "leansight.sdk.commands.check",
    "sign": "leansight.sdk.commands.device.sign",
    "verify": "leansight.sdk.commands.device.verify",
    "deploy": "leansight.sdk.commands.device.deploy",
    "install": "leansight.sdk.commands.device.install",
    "rollback": "leansight.sdk.commands.device.rollback",
}


class LazyGroup(FlagNamingGroup):
    """A group that finds its sub-commands in `COMMANDS`."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; it ends as programs do, not as click has it."""
        with past_click():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the sub-commands in the order in which they are used."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of one sub-command and return its `command`."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        with importing():
            command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="leansight")
def leansight() -> None:
    """Turn labelled images into an int8 classifier that runs on a Raspberry Pi.

    \b
    leansight data signs photos/
    leansight train photos/ --recipe traffic-signs-small --out run/
    leansight export run/ --out signs.bundle
    leansight classify signs.bundle photo.jpg
    leansight bench signs.bundle
    """


def main() -> None:
    """Run the command as the program of this process."""
    end = quick_end()
    end(run())


def run() -> int:
    """Run the command and return its exit code; a user's mistake ends in one line and code 1."""
    without_telemetry()  # here too: other libraries import ONNX Runtime as well
    escape_what_cannot_be_printed()
    with without_library_logs() as library_log:
        return exit_code_of(leansight, library_log)
