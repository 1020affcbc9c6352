"""Where progress and tables for people go: standard error, so that standard output is results."""

import functools

from rich.console import Console


@functools.cache
def console() -> Console:
    """Return the one console on standard error, made at its first use."""
    return Console(stderr=True)
