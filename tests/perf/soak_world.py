"""What is around a stream that is tried for long: a disk, a broker, a page's address, a clock."""

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

CLOCK = Path(__file__).parents[1] / "helpers/programs/clock_shift.c"


class World:
    """What is around the stream: a small disk, a broker, the page's address; or None of these."""

    def __init__(self, work: Path, stack: contextlib.ExitStack) -> None:
        self.work = work
        self.page = ("127.0.0.1", _free_port())
        self.disk = self._mount(stack)
        self._command = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
        self._process: subprocess.Popen[bytes] | None = None
        self.broker = _free_port() if self._command else None
        if self.broker:
            self.start_broker()
            stack.callback(self.stop_broker)

    @property
    def options(self) -> list[str]:
        """The options of the stream that use all this."""
        folder = self.disk or self.work
        options = ["--json", "--web", f"127.0.0.1:{self.page[1]}"]
        options += ["--save", str(self.work / "video.mkv"), "--json-file", str(folder / "lines")]
        options += ["--json-file-mb", "1", "--json-files", "3"]
        options += ["--hard-examples", str(folder / "hard"), "--hard-examples-mb", "2"]
        options += ["--hard-examples-every", "1", "--last-good", str(self.work / "good.zip")]
        return options + (["--mqtt", f"mqtt://127.0.0.1:{self.broker}/soak"] if self.broker else [])

    def start_broker(self) -> None:
        """Start the broker; it is there at once, or within a second."""
        assert self._command
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([self._command, "-p", str(self.broker)], **quiet)

    def stop_broker(self) -> None:
        """Kill the broker."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def _mount(self, stack: contextlib.ExitStack) -> Path | None:
        """Return a disk of 8 MB in memory, None where this user may not mount one."""
        disk = self.work / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            return None
        stack.callback(subprocess.run, ["umount", "--lazy", str(disk)], check=True)
        return disk


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def compile_clock(work: Path) -> dict[str, str]:
    """Return the environment in which the clock can be moved."""
    library = work / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, CLOCK, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(work / "clock")}
