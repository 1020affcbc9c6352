"""`leansight sign`: says by a key who has made a bundle."""

from pathlib import Path

import click

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError, DataError
from leansight.runtime.extras import require
from leansight.runtime.system.whole_files import write_whole
from leansight.runtime.trust.policy import SIGNATURE
from leansight.sdk.system.text import echo


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    required=True,
    help="Private elliptic key (P-256, P-384 or P-521) in PEM, without a password.",
)
def command(*, bundle: Path, key: Path) -> None:
    """Sign all files of BUNDLE, a folder; the signature is its file model.sig.

    The format is that of OpenSSF model signing.

    \b
    openssl ecparam -name prime256v1 -genkey -noout -out mine.key
    openssl ec -in mine.key -pubout -out mine.pem
    leansight sign signs.bundle --key mine.key
    """
    require("cryptography", package="cryptography", extra="sign")
    from leansight.runtime.trust.signature import sign

    signed = Bundle.load(bundle)
    if not bundle.is_dir():
        raise BundleError(f"{bundle} is no folder: sign the folder of it, and make the zip then")
    digests = signed.digests()
    if extra := sorted(name for name, digest in digests.items() if not digest):
        raise BundleError(f"{bundle} holds {extra[0]!r}, which is no file of it: remove it first")
    try:
        signature = sign(signed.name, digests, key.read_bytes())
    except ValueError as error:
        raise DataError(f"{key} is not used: {error}", parameter="key") from error
    write_whole(bundle / SIGNATURE, signature)
    echo(f"signed: {bundle / SIGNATURE}")
