"""`leansight label`: a page that takes labels for the pictures a stream was not sure of."""

import signal
import threading
from pathlib import Path
from typing import Final

import click

from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed
from leansight.sdk.commands.options.images import PATH
from leansight.sdk.system.files import require_writable
from leansight.sdk.system.text import echo, printable

_WEB: Final = "127.0.0.1:8081"


@click.command()
@click.argument("folder", type=PATH)
@click.option(
    "--out",
    type=PATH,
    required=True,
    help="Move the pictures here, into a folder for each label; it may have some already.",
)
@click.option(
    "--web", default=_WEB, show_default=True, metavar="HOST:PORT", help="Where the page is."
)
@click.option(
    "--web-token-file",
    type=PATH,
    metavar="FILE",
    help="The token that opens the page.  [default: on loopback none, else a new one]",
)
def command(*, folder: Path, out: Path, web: str, web_token_file: Path | None) -> None:
    """Label the pictures in FOLDER on a page in a browser, the biggest doubt first.

    FOLDER is what `leansight stream --hard-examples` has written. Keys 1 to 9 give a label, n says
    that none fits, s skips, u undoes; OUT is then data for `leansight train`. Ctrl-C ends it.

    \b
    leansight label hard/ --out labelled/
    """
    check_installed("starlette", "uvicorn", extra="web")
    from leansight.runtime.service.web.address import Address, token_for
    from leansight.sdk.labelling.page import LabellingPage
    from leansight.sdk.labelling.session import LabellingSession

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    require_writable(out)
    session = LabellingSession(folder, out)
    address = Address.parse(web, default=_WEB, parameter="web")
    page = LabellingPage(session, address, token_for(address, web_token_file, "web_token_file"))
    echo(f"{session.left:,} pictures to label: {page.url}", err=True)
    try:
        _wait_for_end()
    finally:
        page.close()
    echo(printable(session.summary))


def _wait_for_end() -> None:
    """Wait for Ctrl-C or SIGTERM, which are how this command is meant to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
