"""Options of every command that can measure on another machine."""

import click

on_option = click.option(
    "--on",
    metavar="PI@HOST",
    help="Measure on another machine, over SSH; it must have the same version of leansight.",
)
remote_python_option = click.option(
    "--remote-python",
    metavar="PATH",
    help="Python of that machine that has leansight, such as venv/bin/python.  [default: python3]",
)
