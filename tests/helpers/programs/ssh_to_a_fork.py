"""An `ssh` for tests: `python ssh_to_a_fork.py SOCKET OPTION ... -- HOST COMMAND`.

It relays its standard input to `hostile.far_side`, and ends as the command there has ended.
"""

import json
import os
import socket
import sys
from contextlib import suppress

address, *words = sys.argv[1:]
host, there = words[words.index("--") + 1 :]
with socket.socket(socket.AF_UNIX) as far:
    far.connect(address)
    with suppress(BrokenPipeError):  # the other side has ended before it has read all
        far.sendall(json.dumps([host, there]).encode() + b"\n")
        while data := os.read(0, 65536):
            far.sendall(data)
        far.shutdown(socket.SHUT_WR)
    answer = b"".join(iter(lambda: far.recv(65536), b""))
code, out, err = json.loads(answer)
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code if code >= 0 else 255)
