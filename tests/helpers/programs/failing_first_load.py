"""What runs a bundle's model for the first time, and does what the name of the bundle says."""

import os
import signal
import sys
from pathlib import Path

from leansight.runtime import golden
from leansight.runtime.first_load import READY
from leansight.runtime.interpreter import Format
from leansight.runtime.system.python_child import limit_this_process


def main(parent: int, path: str, digest: str, model_format: Format) -> None:
    name = Path(path).stem
    if name == "unready":
        sys.exit(3)
    sys.stdout.write(f'a library says what it likes\n["{READY}"]\n')
    sys.stdout.flush()
    match name:
        case "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hangs":
            signal.pause()
        case "spins":
            limit_this_process(processor_s=1)
            while True:
                pass
        case "fills":
            limit_this_process(more_bytes=64 << 20)
            bytearray(1 << 30)
        case "replaced":
            digest = "0" * 64
    golden.main(parent, path, digest, model_format)
