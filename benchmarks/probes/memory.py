"""The memory that an empty Python takes, above which a model's is counted."""

import json
import subprocess
import sys
from typing import Final

from leansight.runtime.system.kernel import ROLLUP, STATUS, memory_bytes

_EMPTY_PROCESS: Final = f"""
import json, numpy, pathlib
paths = map(pathlib.Path, {[str(STATUS), str(ROLLUP)]!r})
print(json.dumps([path.read_text() if path.exists() else "" for path in paths]))
"""


def empty_process_bytes() -> dict[str, int | None]:
    """Return the memory of a process that has only imported numpy: see `memory_bytes`."""
    command = [sys.executable, "-P", "-c", _EMPTY_PROCESS]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    status, rollup = json.loads(done.stdout)
    return memory_bytes(status, rollup)
