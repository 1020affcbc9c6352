"""Options of every command that can measure on another machine."""

import click

on_option = click.option(
    "--on",
    metavar="PI@HOST",
    help="Measure there instead, over SSH; it must have this leansight.",
)
remote_python_option = click.option(
    "--remote-python",
    metavar="PATH",
    help="The Python there that has leansight, such as venv/bin/python.  [default: python3]",
)
