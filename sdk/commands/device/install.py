"""`leansight install`: puts a bundle to work on this machine, or leaves the one that is."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import LeansightError
from leansight.runtime.installation.versions import KEPT, Installation, Version
from leansight.runtime.system.whole_files import scratch_folder
from leansight.sdk.commands.device.options import restart, service_options, trouble_of
from leansight.sdk.commands.options.trust import trust_option
from leansight.sdk.system.text import echo

_STANDARD_INPUT: Final = "-"


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the installation; `current` in it is the bundle at work.",
)
@service_options
@click.option(
    "--keep",
    type=click.IntRange(min=2),
    default=KEPT,
    show_default=True,
    help="Number of versions that stay on the disk.",
)
@trust_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    bundle: Path,
    folder: Path,
    service: str | None,
    trial_s: float,
    keep: int,
    trust: Path | None,
    as_json: bool,
) -> None:
    """Copy BUNDLE into a folder of versions, try its golden photos, and put it to work.

    Whatever fails on the way, also the power, leaves the old version or the new one at work. With
    --service the stream then decides: the old version comes back unless the service is healthy,
    also if this command is killed meanwhile.
    BUNDLE is a folder or a zip, or - for a zip on standard input.

    \b
    leansight install signs.bundle --to signs/
    sudo venv/bin/leansight install signs.bundle --to signs/ --service leansight
    """
    installation = Installation(folder)
    with _opened(bundle) as path, installation.alone():
        before = installation.current_number()
        version = installation.install(
            Bundle.load(path, trust=trust), keep=keep, trial_s=0 if service is None else trial_s
        )
        is_undecided = version.number != before or installation.pending_trial() is not None
        if service is not None and is_undecided:
            _try(installation, version, service, trial_s)
    if as_json:
        values = {"version": version.number, "digest": version.bundle.digest}
        echo(json.dumps(values))
    else:
        echo(f"{version.bundle.name} is at work: {installation.link} (version {version.number})")


def _try(installation: Installation, version: Version, service: str, trial_s: float) -> None:
    """Let the service decide; LeansightError if the version was taken back."""
    trouble = trouble_of(service, trial_s)
    if not trouble or version.previous is None:
        installation.end_trial()
    if not trouble:
        return
    if version.previous is None:
        raise LeansightError(f"{trouble}, and there is no version to go back to")
    installation.roll_back()
    restart(service)
    raise LeansightError(f"{trouble}: version {version.previous} is at work again")


@contextmanager
def _opened(bundle: Path) -> Iterator[Path]:
    """Yield a bundle's path; what comes on standard input is written to a file first."""
    if str(bundle) != _STANDARD_INPUT:
        yield bundle
        return
    with scratch_folder() as scratch:
        file = scratch / "input.bundle"
        with file.open("wb") as out:
            shutil.copyfileobj(sys.stdin.buffer, out)
        yield file
