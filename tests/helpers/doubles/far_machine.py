"""Other machines, made up: an `ssh` that stays here, and Pythons that fail in their own ways."""

import os
import sys
from pathlib import Path

import pytest


class Far:
    """The other machine: `folder` is where it keeps temporary files, `python` what it runs."""

    def __init__(self, folder: Path, ssh: Path) -> None:
        self.folder, self.ssh = folder, ssh
        self.python = sys.executable

    def is_clean(self) -> bool:
        """Say whether nothing of ours is there: no file, and no process."""
        return not list(self.folder.iterdir()) and not self.processes()

    def processes(self) -> list[int]:
        """Return the processes that have its TMPDIR, or a folder in it."""
        sign = f"TMPDIR={self.folder}".encode()
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if sign in environment.read_bytes():
                    found.append(int(environment.parent.name))
            except OSError:  # it has ended, or is another user's
                continue
        return found


def executable(path: Path, script: str) -> Path:
    """Write a shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def ssh_to_here(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Put an `ssh` first on PATH that runs the command here; return the machines' home folders.

    Each machine has its own, by its name; temporary files are in `tmp` of it.
    """
    script = (
        'while [ "$1" != -- ]; do shift; done; host=$2; shift 2\n'
        f'mkdir -p "{folder}/$host/tmp"; cd "{folder}/$host"\n'
        'TMPDIR="$PWD/tmp" exec sh -c "$*"'
    )
    ssh = executable(folder / "bin" / "ssh", script)
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)
    return folder


# A Python without leansight: `-m venv` makes an environment whose pip unpacks the wheel.
_BARE = f"""\
case "$*" in
*"-m venv "*)
  folder=$(dirname "$3")
  mkdir -p "$3/bin"
  cat >"$3/bin/python" <<END
#!/bin/sh
case "\\$*" in
*"pip install"*) exec {sys.executable} -m zipfile -e "$folder"/*.whl "$folder/site" ;;
esac
PYTHONPATH="$folder/site" exec {sys.executable} "\\$@"
END
  chmod +x "$3/bin/python" ;;
*) exit 9 ;;
esac
"""


def bare_python(path: Path) -> Path:
    """Write a Python that has no leansight but can make an environment for it."""
    return executable(path, _BARE)
