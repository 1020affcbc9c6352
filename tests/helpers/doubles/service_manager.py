"""A service of systemd without systemd: started again whenever it ends, and heard."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

RESTART_S = 0.2  # systemd's is five seconds
_POLL_S = 0.05
# What `systemctl` does: what is asked for lies in files, which `ServiceManager` reads and writes.
_SYSTEMCTL = """\
#!/bin/sh
case $1 in
restart) echo ActiveState=activating > {folder}/shown; touch {folder}/restart;;
show) cat {folder}/shown;;
esac
"""


class ServiceManager:
    """Runs a command as systemd does, from `systemctl restart` on, until the `with` ends.

    `path` is to be the first folder of PATH. `starts` has, for each start, the bundle to which a
    link led and the process: both at once, for a test that reads them meanwhile.
    """

    def __init__(self, folder: Path, command: Sequence[str], link: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._command = command
        self._link = link
        self.starts: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.log = folder / "log"
        self.shown = folder / "shown"
        self.path = folder / "bin"
        self.path.mkdir()
        for name, text in (
            ("systemctl", _SYSTEMCTL.format(folder=folder)),
            ("sudo", '#!/bin/sh\nshift\nexec "$@"\n'),
        ):
            (self.path / name).write_text(text)
            (self.path / name).chmod(0o755)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.settimeout(_POLL_S)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    @property
    def bundles(self) -> list[str]:
        return [bundle for bundle, _ in self.starts]

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        return self.starts[-1][1] if self.starts else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            self._hear()
            asked = self._folder / "restart"
            if asked.exists():
                asked.unlink()
                self._end(signal.SIGTERM)
                self._start()
            elif self.process is not None and self.process.poll() is not None:
                self._show("ActiveState=activating")
                self._ended.wait(RESTART_S)
                self._start()
        self._end(signal.SIGKILL)

    def _start(self) -> None:
        bundle = self._link.readlink().parent.name
        environment = os.environ | {"NOTIFY_SOCKET": str(self._folder / "notify")}
        with self.log.open("ab") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
        self.starts.append((bundle, process))

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)

    def _hear(self) -> None:
        try:
            lines = self._socket.recv(4096).decode().split("\n")
        except TimeoutError:
            return
        for line in lines:
            if line.startswith("STATUS="):
                self._show(f"ActiveState=active\nStatusText={line.removeprefix('STATUS=')}")

    def _show(self, text: str) -> None:
        part = self._folder / "part"
        part.write_text(f"{text}\n")
        part.replace(self.shown)
