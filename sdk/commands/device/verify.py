"""`leansight verify`: whether a bundle is signed by a key that is trusted."""

import sys
from pathlib import Path

import click

from leansight.runtime.bundle import Bundle
from leansight.sdk.system.text import echo, printable


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Public key in PEM; give it again for others.  [default: those of this machine's policy]",
)
def command(*, bundle: Path, keys: tuple[Path, ...]) -> None:
    """Tell whether BUNDLE is as somebody has signed it whose public key is trusted.

    The exit code is 1 if it is not signed, or by another key, or if any file of it was changed,
    added or removed since.

    \b
    leansight verify signs.bundle --key mine.pem
    """
    read = Bundle.load(bundle)
    signer = read.require_trust(keys or None)
    if signer:
        echo(printable(f"{read.name}: signed by the key {signer[:16]}"))
        return
    signed = "is signed, and no key is named" if read.signature() else "is unsigned"
    echo(printable(f"{read.name} {signed}"), err=True)
    sys.exit(1)
