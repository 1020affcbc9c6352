"""The trial of a version, decided by the stream that runs it when nobody else does.

`leansight install` watches the trial and holds the folder of versions meanwhile. Where it is gone,
killed or cut off, the folder is free and the record of the trial is still there: then this decides.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from leansight.runtime.errors import BundleError, DataError
from leansight.runtime.installation.pending_trial import PendingTrial
from leansight.runtime.installation.trial import PATIENCE_S, trouble_in
from leansight.runtime.installation.versions import Installation, InstallationInUseError
from leansight.runtime.service.caption import caption
from leansight.runtime.stream.classified_stream import StreamResult

# So many starts of the stream without a decision: the next one begins with the version before.
STARTS: Final = 2
# A stream without any result for so long is not healthy; an inference may take ten seconds.
SILENCE_S: Final = 15.0
_ROLLED_BACK: Final = 1  # the exit code: whoever starts the service starts it again

# Takes a line for people.
Tell = Callable[[str], None]


class StreamTrial:
    """Watches the results of a stream from its start on, and decides at the end of the trial.

    The version stays if labels were given as `trouble_in` asks for. Else the version before is put
    to work, and the stream ended, so that its service starts it anew.
    """

    trouble = ""

    def __init__(
        self,
        installation: Installation,
        trial: PendingTrial,
        *,
        end: Callable[[int], None],
        tell: Tell,
    ) -> None:
        """Begin to watch; `end` ends the stream with an exit code, from any thread."""
        self._installation = installation
        self._trial = trial
        self._end = end
        self._tell = tell
        self._closed = threading.Event()
        self._reason = "the stream has not begun"
        self._heard_s = time.monotonic()
        threading.Thread(target=self._watch, daemon=True, name="trial").start()

    @classmethod
    def of(cls, bundle: Path, *, end: Callable[[int], None], tell: Tell) -> Self | None:
        """Return the trial of the bundle that a service is about to load; None if there is none.

        A version that was started twice without a decision is taken back here. Only a stream that
        systemd has started decides: one that a person starts beside it may have no camera.
        """
        installation = Installation.of_link(bundle) if "NOTIFY_SOCKET" in os.environ else None
        if installation is None:
            return None
        try:
            trial = _counted(installation, tell)
        except (DataError, BundleError, OSError) as error:
            tell(f"the trial of {bundle} is not decided here: {error}")
            return None
        return None if trial is None else cls(installation, trial, end=end, tell=tell)

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        self._reason = "" if result.gives_labels else caption(result)
        self._heard_s = time.monotonic()

    def close(self) -> None:
        """See `Output`."""
        self._closed.set()

    def _health(self) -> str:
        silence_s = time.monotonic() - self._heard_s
        return self._reason or (f"no result for {silence_s:.0f} s" if silence_s > SILENCE_S else "")

    def _watch(self) -> None:
        period_s = self._trial.period_s
        while not self._closed.is_set():
            trouble = trouble_in(self._health, period_s=period_s, patience_s=PATIENCE_S)
            try:
                with self._installation.alone():
                    self._decide(trouble)
            except InstallationInUseError:  # the command watches as well, and may yet be killed
                self._closed.wait(1)
            except (DataError, BundleError, OSError) as error:
                self._tell(f"the trial is not decided here: {error}")
                break
            else:
                break

    def _decide(self, trouble: str) -> None:
        """Let the version stay, or not, if nobody has decided meanwhile."""
        pending = self._installation.pending_trial()
        if self._closed.is_set() or pending is None or pending.version != self._trial.version:
            return
        if not trouble:
            self._installation.end_trial()
            self._tell(f"version {pending.version} has stood its trial: {self._installation.link}")
            return
        if _take_back(self._installation, f"version {pending.version}: {trouble}", self._tell):
            self._end(_ROLLED_BACK)


def _counted(installation: Installation, tell: Tell) -> PendingTrial | None:
    """Return the trial of the version at work, this start counted; None if none is pending."""
    trial = installation.pending_trial()
    if trial is None:
        return None
    try:
        with installation.alone():
            trial = installation.pending_trial()
            if trial is None:
                return None
            if trial.starts >= STARTS:
                trouble = f"version {trial.version} was started {trial.starts} times in vain"
                _take_back(installation, trouble, tell)
                return None
            trial = replace(trial, starts=trial.starts + 1)
            trial.save(installation.folder)
    except InstallationInUseError:  # the command is there, and sees for itself how a start ends
        pass
    return trial


def _take_back(installation: Installation, trouble: str, tell: Tell) -> bool:
    """Put the version before to work; False, and the trial is over, if there is none that works."""
    try:
        previous = installation.roll_back()
    except BundleError as error:
        installation.end_trial()
        tell(f"{trouble}, and stays at work: {error}")
        return False
    tell(f"{trouble}: version {previous.number} is at work again")
    return True
