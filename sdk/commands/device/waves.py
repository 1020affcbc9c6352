"""A bundle is installed on other machines, over SSH, one wave after the other."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from leansight.benchmarks.ssh import RemoteError, RemoteLog, RemotePython, kill
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import LeansightError
from leansight.runtime.service.last_good import copy_bundle
from leansight.runtime.system.whole_files import scratch_folder

TRANSFER_S: Final = 300.0  # beside the trial: a slow network, a slow card
_LONGEST_ANSWER: Final = 65_536
_MAIN: Final = "from leansight.sdk.commands.cli import main; main()"
_SAID: Final = "leansight: "  # how a command's error begins


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What became of a bundle on many machines: the names of those, and why one failed.

    `skipped` machines were not reached for, because one before them had failed.
    """

    installed: Sequence[str] = ()
    failed: dict[str, LeansightError] = field(default_factory=dict)
    skipped: Sequence[str] = ()


def deploy(
    bundle: Bundle,
    machines: Sequence[str],
    options: Sequence[str],
    *,
    wave: int = 1,
    remote_python: str = "python3",
    timeout_s: float = TRANSFER_S,
    told: Callable[[str, LeansightError | None], None] = lambda *_: None,
) -> Deployment:
    """Install a bundle on machines: first on one, then on `wave` of them at a time.

    Where one fails, those of its wave come to their end, and no other begins.

    Args:
        bundle: what is installed.
        machines: what `ssh` takes, each.
        options: of `leansight install`, such as ("--to", "signs").
        wave: how many machines at a time.
        remote_python: the interpreter there that has leansight.
        timeout_s: after so many seconds a machine has failed.
        told: called with each machine that is done, and with the error if it failed.

    Raises:
        RemoteError: one of them is no name of a machine.
        BundleError: the bundle was changed since it was loaded.
        OSError: there is no room for a zip of it.

    """
    pythons = [RemotePython(machine, remote_python) for machine in machines]
    installed, failed = list[str](), dict[str, LeansightError]()
    wanted = _Installation(bundle.digest, options, timeout_s)

    def one(python: RemotePython) -> None:
        error = None
        try:
            wanted.install(python, packed)
            installed.append(python.on)
        except LeansightError as raised:
            failed[python.on] = error = raised
        if not wanted.is_stopped:
            told(python.on, error)

    with scratch_folder() as scratch:
        packed = scratch / "bundle.zip"
        copy_bundle(bundle, packed)
        for group in _waves(pythons, wave):
            if not failed:
                with ThreadPoolExecutor(len(group)) as pool, wanted.stopped_by_an_interruption():
                    list(pool.map(one, group))
    done = {*installed, *failed}
    skipped = [machine for machine in machines if machine not in done]
    return Deployment(installed=installed, failed=failed, skipped=skipped)


def _waves(machines: Sequence[RemotePython], wave: int) -> Iterator[Sequence[RemotePython]]:
    """Yield the first machine alone, then so many at a time."""
    yield machines[:1]
    for start in range(1, len(machines), wave):
        yield machines[start : start + wave]


class _Installation:
    """What is installed on each machine, and the processes that are at it."""

    def __init__(self, digest: str, options: Sequence[str], timeout_s: float) -> None:
        self.is_stopped = False
        self._digest, self._timeout_s = digest, timeout_s
        self._words = ["-c", _MAIN, "install", "-", *options, "--json"]
        self._running = set[subprocess.Popen[bytes]]()

    def install(self, python: RemotePython, packed: Path) -> None:
        """Install the zip on one machine; RemoteError or LeansightError with what it said."""
        log = RemoteLog()
        with packed.open("rb") as stdin:
            process = python.start(self._words, stdin=stdin, log=log)
        with self._killed_when_late(process) as is_late:
            assert process.stdout is not None
            answer = process.stdout.read(_LONGEST_ANSWER)
            process.stdout.close()
            code = process.wait()
        if is_late.is_set():
            raise RemoteError(f"{python.on} has not answered for {self._timeout_s:g} s")
        if code != 0:
            raise _failure(python, code, log.lines())
        if not _says(answer, self._digest):
            raise RemoteError(f"{python.on} does not say that it has installed this bundle")

    @contextmanager
    def stopped_by_an_interruption(self) -> Iterator[None]:
        """Kill what runs at Ctrl-C: the other side ends its work, or has not begun it."""
        try:
            yield
        except BaseException:
            self.is_stopped = True
            for process in tuple(self._running):
                kill(process)
            raise

    @contextmanager
    def _killed_when_late(self, process: "subprocess.Popen[bytes]") -> Iterator[threading.Event]:
        """Kill a process that takes too long, and set the event that is given."""
        is_late = threading.Event()

        def kill_late() -> None:
            is_late.set()
            kill(process)

        timer = threading.Timer(self._timeout_s, kill_late)
        timer.daemon = True
        timer.start()
        self._running.add(process)
        if self.is_stopped:  # just before
            kill(process)
        try:
            yield is_late
        finally:
            timer.cancel()
            self._running.remove(process)


def _failure(python: RemotePython, code: int, said: Sequence[str]) -> LeansightError:
    """Return the error that `leansight install` told there, or that of ssh."""
    told = [line.removeprefix(_SAID) for line in said if line.startswith(_SAID)]
    return LeansightError(f"{python.on}: {told[-1]}") if told else python.refusal(code, said)


def _says(answer: bytes, digest: str) -> bool:
    """Return whether the last line of an answer tells of this bundle."""
    lines = answer.decode(errors="replace").splitlines()  # a shell's start-up files may say more
    try:
        values = json.loads(lines[-1])
    except (ValueError, IndexError, RecursionError):
        return False
    return isinstance(values, dict) and values.get("digest") == digest
