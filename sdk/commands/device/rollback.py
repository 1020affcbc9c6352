"""`leansight rollback`: the version that was at work before is at work again."""

from pathlib import Path

import click

from leansight.runtime.installation.versions import Installation
from leansight.sdk.commands.device.options import at_work, restart
from leansight.sdk.system.text import echo


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--service", metavar="NAME", help="Restart this service.")
def command(*, folder: Path, service: str | None) -> None:
    """Put the version to work that was at work before, in a FOLDER of `leansight install`.

    \b
    leansight rollback signs/
    sudo venv/bin/leansight rollback signs/ --service leansight
    """
    installation = Installation(folder)
    with installation.alone():
        version = installation.roll_back()
    if service is not None:
        restart(service)
    echo(at_work(installation, version))
