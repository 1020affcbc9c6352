"""An inference process that does what the name of its bundle says: it crashes, or hangs."""

import io
import json
import os
import signal
import sys
import time
from pathlib import Path

from leansight.runtime.stream import inference_process
from leansight.runtime.stream.capture.channel import Channel


def main(parent: int, channel: int, slot: int) -> None:
    job = sys.stdin.read()
    match Path(json.loads(job)["path"]).stem:
        case "crashes":
            os.kill(os.getpid(), signal.SIGILL)
        case "hangs":
            told = Channel(channel)
            told.tell("ready")
            time.sleep(1000)
    sys.stdin = io.StringIO(job)
    inference_process.main(parent, channel, slot)
