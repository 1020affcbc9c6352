"""A leansight that is brought to another machine, in an environment that goes when we go."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_NO_FOLDER, _NO_WHEEL, _NO_VENV, _NO_PACKAGES = 81, 82, 83, 84
INSTALL_S: Final = 1800.0  # a slow network, a slow card
_PROBE_BYTES: Final = 32_000_000  # what makes an environment does not say that its disk is full
# The folder is removed when this shell ends, for whatever reason. It is below the home folder:
# /tmp is memory on some boards. The wheel's bytes come first on stdin, then what is asked.
_SCRIPT: Final = """\
folder=$(mktemp -d "$PWD/.leansight.XXXXXX") || exit {no_folder}
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM PIPE
export TMPDIR="$folder"
head -c {size} >"$folder/{name}" || exit {no_wheel}
if ! {python} -m venv "$folder/venv" >&2 </dev/null; then
  LC_ALL=C head -c {probe} /dev/zero >"$folder/probe"
  exit {no_venv}
fi
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
"$folder/{name}{extras}" >&2 </dev/null || exit {no_packages}
"$folder/venv/bin/python" -P -m {module}
"""
_EXTRAS: Final = "[pi,onnx]"


def carrying_command(wheel: Path, python: str, module: str) -> str:
    """Return what a shell of the other machine is to run; it reads the wheel's bytes first."""
    script = _SCRIPT.format(
        size=wheel.stat().st_size,
        name=wheel.name,
        python=shlex.quote(python),
        module=module,
        extras=_EXTRAS,
        probe=_PROBE_BYTES,
        no_folder=_NO_FOLDER,
        no_wheel=_NO_WHEEL,
        no_venv=_NO_VENV,
        no_packages=_NO_PACKAGES,
    )
    return shlex.join(["sh", "-c", script])


def refusal_of(code: int, said: Sequence[str], python: str) -> str | None:
    """Say which step failed there and what to do; None for a code that is none of ours."""
    if any("No space left" in line for line in said):
        return "its disk is full: free some space there (see: df -h)"
    last = said[-1]
    match code:
        case code if code in (_NO_FOLDER, _NO_WHEEL):
            return f"nothing can be written in the home folder there: {last}"
        case code if code == _NO_VENV:
            text = " ".join(said)
            if "ensurepip is not available" in text or "No module named venv" in text:
                return (
                    f"{python} there makes no environments. Type there: "
                    "sudo apt install python3-venv"
                )
            return f"{python} there makes no environment: {last}"
        case code if code == _NO_PACKAGES:
            errors = [line for line in said if line.startswith("ERROR")]
            return f"pip there cannot install what is needed: {(errors or [last])[0]}"
    return None
