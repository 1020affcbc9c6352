"""The option of commands that load a bundle: by whom it must be signed."""

from pathlib import Path
from typing import Final

import click

trust_option: Final = click.option(
    "--trust",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Load only what a key has signed that this file names, as /etc/leansight/trust.toml "
    "does, which is asked as well.",
)
