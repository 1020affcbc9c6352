"""A command that runs into a full disk, a broken one or a kill, at one system call after the other.

The command runs in a fork of this process, which has imported all that it needs: seconds of imports
are spent once. strace, which watches the fork, makes one call fail or ends the process there.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hostile.cost import fork

Kind = Literal["ENOSPC", "EIO", "SIGKILL"]
KINDS: Final[tuple[Kind, ...]] = ("ENOSPC", "EIO", "SIGKILL")
Work = Callable[[], None]

# What changes a disk. (`openat` only if it writes, which is told from its flags.)
WRITING: Final = (
    "openat,write,pwrite64,writev,rename,mkdir,fsync,fdatasync,ftruncate,fallocate,chmod,fchmod,"
    "unlink,unlinkat,rmdir,link,symlink,bind,sendfile,copy_file_range"
)
_CALL: Final = re.compile(r"(?P<task>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_SAID: Final = "said.txt"
_LONGEST_S: Final = 1200  # by the clock, where the machine has other work to do
OUTLIVED_S: Final = 60  # after which what a command has started should have ended, as it has


@dataclass(frozen=True, order=True)
class Call:
    """A system call that writes: the `number`th of this name in its thread, from 1."""

    name: str
    number: int


@dataclass(frozen=True)
class End:
    """How a fork ended: its exit code (below zero a signal, None if it hung), and what it said.

    It hung, too, if a process that it has started outlived it by `OUTLIVED_S`.
    """

    code: int | None
    said: str
    trace: Sequence[str]

    @property
    def is_plain(self) -> bool:
        """Whether it was killed, did its work, or told in one line why it failed.

        It cannot tell where what it says is what could not be written.
        """
        lines = self.said.splitlines()
        if self.code == 1:
            told = any(line.startswith("leansight: ") for line in lines)
            is_dumb = any(_SAID in line and "(INJECTED)" in line for line in self.trace)
            return (told or is_dumb) and self._without_traceback
        return self.code in (0, -signal.SIGKILL) and self._without_traceback

    @property
    def _without_traceback(self) -> bool:
        return "Traceback" not in self.said and "not foreseen" not in self.said


def command(*words: object) -> Work:
    """Return what runs a leansight command to its end, as a user does."""
    from leansight.sdk.commands.cli import main

    def work() -> None:
        sys.argv = ["leansight", *map(str, words)]
        main()

    return work


def run(work: Work, folder: Path, *, inject: str | None = None, name: str = "") -> End:
    """Do the work in a fork whose current folder is `folder`/work, under strace.

    `inject` is an expression of strace's, such as "write:error=EIO:when=3"; `name` begins the names
    of the two files about it, in `folder`.
    """
    said, trace = folder / f"{name}{_SAID}", folder / f"{name}calls.strace"
    process = _fork(work, folder / "work", said)
    tracer = _attach(process, trace, inject)
    try:
        os.kill(process, signal.SIGCONT)
        code = _wait(process)
    finally:
        if not _has_ended(tracer):
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            tracer.terminate()
            tracer.wait()
            code = None
    lines = trace.read_text(errors="replace").splitlines()
    return End(code, said.read_text(errors="replace"), lines)


def writing_calls(trace: Sequence[str], below: Path) -> list[Call]:
    """Return the calls of a trace that write below the current folder, each once, in order."""
    numbers: Counter[tuple[str, str]] = Counter()
    found: dict[Call, None] = {}
    for line in trace:
        call = _CALL.match(line)
        if call is None:
            continue
        numbers[call["task"], call["name"]] += 1
        reads = call["name"] == "openat" and not re.search("O_WRONLY|O_RDWR|O_CREAT", call["rest"])
        is_relative = re.match('"[^/]', call["rest"]) is not None
        if not reads and (is_relative or str(below) in call["rest"]):
            found[Call(call["name"], numbers[call["task"], call["name"]])] = None
    return list(found)


def injections(calls: Sequence[Call]) -> Iterator[tuple[Call, Kind, str]]:
    """Yield each call with each fault, and what strace is told of it."""
    for call in calls:
        for kind in KINDS:
            what = "signal=KILL" if kind == "SIGKILL" else f"error={kind}"
            yield call, kind, f"{call.name}:{what}:when={call.number}"


def _fork(work: Work, folder: Path, said: Path) -> int:
    """Return the process of a stopped fork that will do the work."""
    process = fork()
    if process == 0:
        os.setsid()
        os.chdir(folder)
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(_exit_code(work))
    os.waitpid(process, os.WUNTRACED)
    return process


def _exit_code(work: Work) -> int:
    code = 0
    with os.fdopen(1, "w", closefd=False) as out, os.fdopen(2, "w", closefd=False) as err:
        sys.stdout, sys.stderr = out, err
        try:
            work()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 -- else the fork would go on as the tests
            sys.excepthook(*sys.exc_info())
            code = 98
    return code


def _attach(process: int, trace: Path, inject: str | None) -> "subprocess.Popen[bytes]":
    expressions = [f"trace={WRITING}", *([f"inject={inject}"] if inject else [])]
    options = [part for expression in expressions for part in ("-e", expression)]
    strace = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(trace), "-p", str(process)]
    tracer = subprocess.Popen([*strace, *options], stderr=subprocess.DEVNULL)
    while "TracerPid:\t0\n" in Path(f"/proc/{process}/status").read_text():
        if tracer.poll() is not None:
            raise RuntimeError(f"strace ended with {tracer.returncode}")
        time.sleep(0.002)
    return tracer


def _has_ended(tracer: "subprocess.Popen[bytes]") -> bool:
    """Return whether strace ends, as it does with the last process that it watches."""
    try:
        tracer.wait(OUTLIVED_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _wait(process: int) -> int | None:
    end = time.monotonic() + _LONGEST_S
    while time.monotonic() < end:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None
