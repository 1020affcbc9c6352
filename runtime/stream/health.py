"""How a stream is: whether frames come, and why not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

# running: frames come. stale: the source is open, and no frame has come for a while.
# reconnecting: there is no source, and it is tried again (also before the first frame).
State = Literal["running", "stale", "reconnecting"]

# Called with the new state and its reason, a line for people.
OnState = Callable[[State, str], None]


@dataclass(frozen=True, kw_only=True)
class Health:
    """The state of a stream and its reason, a line for people; of a running one it is empty."""

    state: State
    reason: str = ""
