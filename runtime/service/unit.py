"""A systemd unit that runs a stream from boot on, with as few rights as it needs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leansight.runtime.errors import DataError

MARK: Final = "# Written by `leansight service install`, which writes it anew."
WATCHDOG_S: Final = 30
# How the program ends when only a restart of the machine helps: EX_TEMPFAIL of sysexits.h.
STUCK_EXIT_CODE: Final = 75
# The first systemd that waits longer after each failure.
_RESTART_STEPS_SINCE: Final = 254

# Cameras: V4L2, their media controllers, and the memory in which libcamera puts frames.
_CAMERA_DEVICES: Final = ("char-video4linux rw", "char-media rw", "char-dma_heap rw")
_PIN_DEVICES: Final = ("char-gpiochip rw", "/dev/gpiomem rw")
_PLAIN: Final = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
# systemd.exec(5) and systemd.resource-control(5).
_SANDBOX: Final = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateIPC=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0027
DevicePolicy=closed
"""


@dataclass(frozen=True, kw_only=True)
class ServiceUnit:
    """What a unit says; paths are absolute.

    `command` is the program and its arguments, `writable` the folders that it writes,
    `password_file` one that only root need be able to read. `systemd_version` decides what may
    stand in the unit.
    """

    name: str
    bundle: str
    command: Sequence[str]
    user: str
    groups: Sequence[str]
    working_directory: Path
    writable: Sequence[Path] = ()
    password_file: Path | None = None
    memory_mb: int = 500
    uses_pins: bool = False
    reboots_when_stuck: bool = False
    systemd_version: int = 252

    def __post_init__(self) -> None:
        words = [*self.command, self.bundle, str(self.working_directory), *map(str, self.writable)]
        for word in words:
            if not word.isprintable():
                raise DataError(f"{word!r} holds a control character, which no unit may")

    def text(self) -> str:
        """Return the unit, as it stands in a file."""
        service = "\n".join((MARK, *self._of_unit(), *self._of_service()))
        return f"{service}\n{_SANDBOX}{self._devices()}\n[Install]\nWantedBy=multi-user.target\n"

    def _of_unit(self) -> list[str]:
        return [
            "[Unit]",
            f"Description=Classify what a camera sees with {_specifiers(self.bundle)}",
            "Documentation=man:systemd.service(5)",
            "After=network.target",
            "StartLimitIntervalSec=0",
            *(["FailureAction=reboot-force"] if self.reboots_when_stuck else []),
            "",
        ]

    def _of_service(self) -> list[str]:
        program, *arguments = self.command
        return [
            "[Service]",
            "Type=notify",
            f"ExecStart={' '.join([_quoted(program), *map(_argument, arguments)])}",
            f"WorkingDirectory={_specifiers(str(self.working_directory))}",
            f"User={self.user}",
            *([f"SupplementaryGroups={' '.join(self.groups)}"] if self.groups else []),
            f"RuntimeDirectory={self.name}",
            f"CacheDirectory={self.name}",
            # lgpio, which switches pins, writes a file of its own.
            f"Environment=LG_WD=/run/{self.name}",
            *self._password(),
            *(f"ReadWritePaths={_quoted(str(folder))}" for folder in self.writable),
            f"WatchdogSec={WATCHDOG_S}",
            "TimeoutStartSec=120",
            "TimeoutStopSec=10",
            "KillMode=mixed",
            *self._restart(),
            f"MemoryMax={self.memory_mb}M",
        ]

    def _restart(self) -> list[str]:
        lines = ["Restart=always", "RestartSec=5"]
        if self.systemd_version >= _RESTART_STEPS_SINCE:
            lines += ["RestartSteps=6", "RestartMaxDelaySec=300"]
        if self.reboots_when_stuck:
            lines.append(f"RestartPreventExitStatus={STUCK_EXIT_CODE}")
        return lines

    def _password(self) -> list[str]:
        """Let systemd read the file as root, and hand a copy to the program alone."""
        if self.password_file is None:
            return []
        return [
            f"LoadCredential=mqtt-password:{_specifiers(str(self.password_file))}",
            "Environment=LEANSIGHT_MQTT_PASSWORD_FILE=%d/mqtt-password",
        ]

    def _devices(self) -> str:
        devices = [*_CAMERA_DEVICES, *(_PIN_DEVICES if self.uses_pins else ())]
        return "".join(f"DeviceAllow={device}\n" for device in devices)


def _specifiers(text: str) -> str:
    """Return text in which systemd finds no %specifier."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """Return one word, as systemd.syntax(7) has it."""
    escaped = _specifiers(text).replace("\\", "\\\\").replace('"', '\\"')
    return escaped if _PLAIN.fullmatch(text) else f'"{escaped}"'


def _argument(text: str) -> str:
    """Return one word of a command line, in which systemd finds no $variable either."""
    return _quoted(text).replace("$", "$$")
