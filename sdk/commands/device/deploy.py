"""`leansight deploy`: puts a bundle to work on other machines, over SSH."""

import sys
from pathlib import Path

import click

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import LeansightError
from leansight.sdk.commands.device.options import service_options
from leansight.sdk.commands.options.flags import line_of
from leansight.sdk.commands.options.remote import remote_python_option
from leansight.sdk.system.text import echo, printable


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--on",
    "machines",
    metavar="PI@HOST",
    multiple=True,
    required=True,
    help="A machine, reached over SSH, that has leansight; give it again for others.",
)
@click.option(
    "--to",
    "folder",
    metavar="FOLDER",
    required=True,
    help="Folder there, see `leansight install`.",
)
@service_options
@click.option(
    "--wave",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many machines at a time, after the first one.",
)
@remote_python_option
def command(
    *,
    bundle: Path,
    machines: tuple[str, ...],
    folder: str,
    service: str | None,
    trial_s: float,
    wave: int,
    remote_python: str | None,
) -> None:
    """Put BUNDLE to work on other machines: on the first, then on the others in waves.

    Each tries the golden photos, and with --service whether the stream is healthy, before it keeps
    the bundle. Where one fails, no other wave begins, and the exit code is 1.

    \b
    leansight deploy signs.bundle --on pi@garden --to signs
    leansight deploy signs.bundle --on pi@garden --on pi@gate --to signs --service leansight
    """
    from leansight.sdk.commands.device.waves import TRANSFER_S, deploy

    options = ["--to", folder, "--trial", str(trial_s)]
    if service is not None:
        options += ["--service", service]
    done = deploy(
        Bundle.load(bundle),
        tuple(dict.fromkeys(machines)),
        options,
        wave=wave,
        remote_python=remote_python or "python3",
        timeout_s=TRANSFER_S + 2 * trial_s,
        told=_tell,
    )
    if done.skipped:
        echo(printable(f"left as they were: {', '.join(done.skipped)}"), err=True)
    if done.failed:
        sys.exit(1)


def _tell(machine: str, error: LeansightError | None) -> None:
    if error is None:
        echo(printable(f"{machine}: installed"))
    else:
        echo(line_of(error), err=True)
