"""A version that was just put to work is on trial: the stream decides whether it stays."""

import subprocess
import time
from collections.abc import Callable
from typing import Final

from leansight.runtime.stream.capture.health import LABELLING

PERIOD_S: Final = 60.0
PATIENCE_S: Final = 30.0  # a Pi 3 takes fifteen to start a stream
_EVERY_S: Final = 1.0


def trouble_in(
    health: Callable[[], str], *, period_s: float = PERIOD_S, patience_s: float = PATIENCE_S
) -> str:
    """Return why a stream is not healthy in the time of its trial, "" if it is.

    Args:
        health: returns why it is not healthy just now, or "".
        period_s: how long the trial lasts, seconds; at its end the stream must be healthy.
        patience_s: so long it may be unhealthy at a stretch, such as when it starts.

    """
    begin = healthy_at = time.monotonic()
    while True:
        trouble = health()
        now = time.monotonic()
        healthy_at = healthy_at if trouble else now
        if now - healthy_at >= patience_s or now - begin >= period_s:
            return trouble
        time.sleep(_EVERY_S)


def service_health(name: str) -> str:
    """Return why a service of `leansight service install` gives no labels, "" if it does."""
    words = ["systemctl", "show", name, "--property=ActiveState,StatusText"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    values = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    state, status = values.get("ActiveState", "unknown"), values.get("StatusText", "")
    if state != "active":
        return f"the service {name} is {state}"
    return "" if status.partition(",")[0] in LABELLING else f"the service {name} says {status!r}"
