"""A bundle that this user has not loaded before: its model first runs in a process of its own.

A model is a program. A library that is given a hostile one may crash, hang or fill the memory, and
then only that process ends. What has run is remembered by its digest, so that later it costs
nothing. This is no sandbox: what takes over the process has the user's rights.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError
from leansight.runtime.interpreter import Format, has_interpreter
from leansight.runtime.system.user_cache import is_own, user_cache

TIMEOUT_S: Final = 60.0
PROCESSOR_S: Final = 30  # of a processor; a Pi 3 needs two
# What the process may take beside what libraries have at the start, and beside the model: so often.
MEMORY_BYTES: Final = 512 << 20
MEMORY_TIMES: Final = 8
MODULE: Final = "leansight.runtime.golden"
# What the process tells, as a JSON list in a line: that it has its libraries, so that what comes
# now is the model's doing; then that it runs, or in a sentence why it must not.
READY: Final = "ready"
RUNS: Final = "runs"


def require_runnable(bundle: Bundle, model_format: Format) -> None:
    """Return if the model of a bundle has run here before, or does so now, in another process.

    There it is loaded, classifies one picture and the golden photos; whether they come out as they
    were made is not asked, see `check_golden`.

    Raises:
        BundleError: it is not a plain feed-forward network, or it crashes, does not end in time,
            takes too much memory, or returns what are no logits of these labels.

    """
    passed = _passed(bundle, model_format)
    if is_own(passed.parent) and passed.is_file():
        return
    _require_structure(bundle, model_format)
    if has_interpreter(model_format) and _runs(bundle, model_format):
        _remember(passed)


def _passed(bundle: Bundle, model_format: Format) -> Path:
    """Return the empty file that says that this model has run."""
    return user_cache() / "runnable" / f"{bundle.digest}.{model_format}"


# What only a first load needs is imported there: 20 ms that no other load pays.


def _require_structure(bundle: Bundle, model_format: Format) -> None:
    from leansight.runtime.model_files.onnx_structure import check_onnx
    from leansight.runtime.model_files.tflite_structure import check_tflite

    check = check_tflite if model_format == "tflite" else check_onnx
    name = f"model.{model_format}"
    try:
        check(bundle.read(name))
    except BundleError:
        raise
    except ValueError as error:
        raise BundleError(f"{name} of {bundle.path} is not run: {error}") from error


def _runs(bundle: Bundle, model_format: Format) -> bool:
    """Return whether the model has run in another process; BundleError if it must not in this."""
    import subprocess

    from leansight.runtime.system.python_child import python_command

    parts = os.getpid(), os.fspath(bundle.path), bundle.digest, model_format
    command = python_command(MODULE, *parts)
    code = None
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
    told = [json.loads(line) for line in output.splitlines() if line.startswith(b'["')]
    if [RUNS] in told:
        return True
    if [READY] not in told:  # the libraries are at fault: they tell of it here as ever
        return False
    raise BundleError(
        f"model.{model_format} of {bundle.path} is not run: {_reason(told[-1], code)}"
    )


def _reason(last: list[str], code: int | None) -> str:
    """Say how a process has failed that had its libraries."""
    import signal

    if code is None:
        return f"in a process of its own it did not end within {TIMEOUT_S:g} s"
    if code == -getattr(signal, "SIGXCPU", 0):
        return f"it took more than {PROCESSOR_S} s of a processor"
    if last != [READY]:
        return last[-1]
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"in a process of its own it crashed ({how})"


def _remember(passed: Path) -> None:
    with suppress(OSError):  # where nothing can be written, it is tried again the next time
        passed.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_own(passed.parent):
            passed.touch(mode=0o600)
