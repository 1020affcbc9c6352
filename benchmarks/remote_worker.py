"""The far end of a measurement: `python -m leansight.benchmarks.remote_worker`, started over SSH.

It says in one JSON line what machine this is, then answers each line on stdin with one:

- {"file": NAME, "of": NUMBER, "size": BYTES}, and the bytes: the file is in the folder NUMBER
- {"start": NUMBER, "name": …, "arguments": […], "hang_s": …}: the first answer of a worker
- {"ask": NUMBER, "request": {…}}: its next answer
- {"stop": NUMBER}: it has ended
- {"remove": NUMBER}: its folder is removed
- {"state": true}: how the machine is

What cannot be done is answered with {"error": …}. When stdin closes, because the other side has
finished, was interrupted or lost the connection, all workers end and all files are removed, also
in the middle of an answer.
"""

import errno
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, chdir, suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final, Self

from leansight.benchmarks.machines import ThisMachine
from leansight.benchmarks.probes.conditions import read_state
from leansight.benchmarks.worker_process import WorkerProcess
from leansight.runtime.errors import BundleError
from leansight.runtime.system.whole_files import scratch_folder

_FULL: Final = "its disk is full: free some space there (see: df -h)"


class _LeftError(Exception):
    """The other side has gone."""


def main() -> int:
    """Serve one connection; 0 when the other side closed it, 1 when it left in the middle."""
    for name in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, lambda *_: sys.exit(1))  # what is open is closed on the way out
    here, requests = ThisMachine(), sys.stdin.buffer
    with (
        scratch_folder() as folder,
        chdir(folder),
        _Workers(requests) as workers,
        suppress(_LeftError, BrokenPipeError),
    ):
        os.environ["TMPDIR"] = str(folder)  # ONNX Runtime leaves a file in it
        _say(
            leansight=version("leansight"),
            machine=here.facts.name,
            empty_bytes=here.empty_bytes,
            facts=here.facts.to_dict(),
        )
        for line in iter(requests.readline, b""):
            _say(**workers.serve(json.loads(line)))
        return 0
    return 1


class _Workers:
    """The processes of one connection, by their numbers; ended after the `with`."""

    def __init__(self, requests: IO[bytes]) -> None:
        self._requests = requests
        self._open: dict[int, ExitStack] = {}
        self._processes: dict[int, WorkerProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for stack in self._open.values():
            stack.close()

    def serve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a request says, and return its answer, or why it cannot be done."""
        try:
            return self._serve(request)
        except OSError as error:
            return {"error": _FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)}
        except BundleError as error:
            return {"error": str(error)}

    def _serve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        match request:
            case {"file": name, "of": number, "size": size}:
                self._receive(Path(str(number), name), size)
            case {"start": number, "name": name, "arguments": arguments, "hang_s": hang_s}:
                stack = self._open[number] = ExitStack()
                process = stack.enter_context(WorkerProcess(name, arguments, hang_s))
                self._processes[number] = process
                return self._answer_of(process)
            case {"ask": number, "request": asked}:
                self._processes[number].send(asked)
                return self._answer_of(self._processes[number])
            case {"stop": number}:
                self._open.pop(number).close()
            case {"remove": number}:
                shutil.rmtree(str(number))
            case {"state": _}:
                return read_state().to_dict()
        return {}

    def _receive(self, file: Path, size: int) -> None:
        data = self._requests.read(size)
        if len(data) < size:
            raise _LeftError
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def _answer_of(self, process: WorkerProcess) -> dict[str, Any]:
        """Wait for a worker, but no longer than the other side does: it says nothing meanwhile."""
        sources: list[IO[Any]] = [process.stdout, self._requests]
        ready, _, _ = select.select(sources, [], [], process.hang_s)
        if self._requests in ready and process.stdout not in ready:
            raise _LeftError
        return process.answer()


def _say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
