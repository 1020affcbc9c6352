"""How a stream is: whether usable frames come, and why not."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

# running: frames come. degraded: they do, and the board is hot or throttled.
# stale: the source is open, and no frame has come for a while.
# frozen: frames come, and all are the same. unusable: the picture shows nothing to classify.
# reconnecting: there is no source, and it is tried again (also before the first frame).
State = Literal["running", "degraded", "stale", "frozen", "unusable", "reconnecting"]
# The states in which labels are given.
LABELLING: Final = frozenset[State]({"running", "degraded"})

# Called with the new state and its reason, a line for people.
OnState = Callable[[State, str], None]


@dataclass(frozen=True, kw_only=True)
class Health:
    """The state of a stream and its reason, a line for people; of a running one it is empty.

    `is_stuck`: the capture process hangs in the kernel, and only a restart of the machine may help.
    """

    state: State
    reason: str = ""
    is_stuck: bool = False
