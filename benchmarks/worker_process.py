"""A worker's process on this machine: started, asked in JSON lines, ended."""

import json
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Self, cast

from leansight.benchmarks.worker import is_bare_model
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError
from leansight.runtime.first_load import require_runnable
from leansight.runtime.interpreter import Format


class WorkerProcess:
    """One model's process: started inside a `with`, ended after it.

    `name` is what error messages call the model; `arguments` are the worker's own, without the
    time of the start; an answer that takes longer than `hang_s` is none. `program` is another one
    that answers as a worker does.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], hang_s: float, *, program: Sequence[str] = ()
    ) -> None:
        self._name, self._arguments, self.hang_s = name, arguments, hang_s
        self._program = program

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._log: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            if not self._program:
                self._run_once()
            # -P: no file of the user's folder may take the place of a module.
            own = [sys.executable, "-P", "-m", "leansight.benchmarks.worker"]
            command = [*(self._program or own), *self._arguments, str(time.monotonic_ns())]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=self._log, text=True
            )
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._open:
            self._process.kill()
            self._process.communicate()

    def _run_once(self) -> None:
        """Let a bundle have its first run before the clock runs; BundleError if it fails."""
        path, model_format, *_ = self._arguments
        if not is_bare_model(Path(path)):
            require_runnable(Bundle.load(path), cast("Format", model_format))

    @property
    def stdout(self) -> IO[str]:
        """Where answers come from."""
        assert self._process.stdout is not None
        return self._process.stdout

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return its answer; BundleError if there is none."""
        self.send(request)
        return self.answer()

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request; its answer comes later."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died: the missing answer says so
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for a line; BundleError if it is an error, too late, or the process dies."""
        if not select.select([self.stdout], [], [], self.hang_s)[0]:
            raise BundleError(f"{self._name}: {self._hang()}")
        line = self.stdout.readline()
        if not line:
            raise BundleError(f"{self._name}: {self._death()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BundleError(answer["error"])
        return answer

    def _hang(self) -> str:
        return f"its process gave no answer for {self.hang_s:g} s: it hangs, or needs more time"

    def _death(self) -> str:
        code = self._process.wait()
        if code >= 0:
            self._log.seek(0)
            said = self._log.read().decode(errors="replace").split("\n")
            last = next((line for line in reversed(said) if line.strip()), "nothing said")
            return f"its process ended with code {code}: {last}"
        name = signal.Signals(-code).name
        hint = " (not enough memory?)" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}; the model may be damaged"
