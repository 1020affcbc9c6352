"""Options of the commands that put a bundle to work, and what they do with them."""

import os
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from leansight.runtime.errors import LeansightError
from leansight.runtime.installation.pending_trial import LONGEST_TRIAL_S
from leansight.runtime.installation.trial import PERIOD_S, service_health, trouble_in
from leansight.runtime.installation.versions import Installation, Version
from leansight.sdk.system.systemd import check_name
from leansight.sdk.system.text import printable


def service_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--service` and `--trial`."""
    trial = click.option(
        "--trial",
        "trial_s",
        type=click.FloatRange(0, LONGEST_TRIAL_S),
        default=PERIOD_S,
        show_default=True,
        metavar="SECONDS",
        help="How long the service is watched; 0 trusts the bundle.",
    )
    service = click.option(
        "--service",
        metavar="NAME",
        help="Restart this service, and roll back if it does not become healthy.",
    )
    return service(trial(command))


def at_work(installation: Installation, version: Version) -> str:
    """Return a line that says which bundle is at work, and where."""
    name = printable(version.bundle.name)
    return f"{name} is at work: {installation.link} (version {version.number})"


def restart(service: str) -> None:
    """Restart a service, as root or by sudo that asks nothing.

    Raises:
        LeansightError: it is refused, or does not start.

    """
    check_name(service)
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    words = [*sudo, "systemctl", "restart", service]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LeansightError(f"there is no {error.filename} here", parameter="service") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        raise LeansightError(f"`{' '.join(words)}` failed: {said}", parameter="service")


def trouble_of(service: str, trial_s: float) -> str:
    """Restart a service and return why it is not healthy within its trial, "" if it is."""
    try:
        restart(service)
    except LeansightError as error:
        return str(error)
    return trouble_in(partial(service_health, service), period_s=trial_s) if trial_s else ""
