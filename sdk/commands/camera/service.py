"""`leansight service`: a stream that begins when the machine does, as a unit of systemd."""

import getpass
import grp
import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import DataError, LeansightError
from leansight.runtime.extras import check_installed
from leansight.runtime.installation.versions import Installation
from leansight.runtime.service.unit import MARK, ServiceUnit
from leansight.sdk.commands.options.flags import FlagNamingGroup
from leansight.sdk.commands.options.outputs import WrittenPath
from leansight.sdk.system.files import write_text
from leansight.sdk.system.systemd import (
    UNITS,
    check_name,
    limits_memory,
    require_systemd,
    systemctl,
    systemd_version,
)
from leansight.sdk.system.text import echo

_TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108 -- they are refused
_PASSWORD_FLAG: Final = "--mqtt-password-file"  # noqa: S105 -- the name of an option
name_option = click.option(
    "--name", default="leansight", show_default=True, help="Name of the service."
)


@click.group(cls=FlagNamingGroup)
def command() -> None:
    """Run a stream from boot on, as a service of systemd.

    \b
    sudo venv/bin/leansight service install signs.bundle --source 0 --web
    leansight service status
    sudo venv/bin/leansight service uninstall
    """


@command.command(
    context_settings={"ignore_unknown_options": True},
    options_metavar="[OPTIONS] [OPTIONS OF leansight stream]",
)
@name_option
@click.option("--user", help="Who runs it, not root.  [default: who has typed sudo]")
@click.option(
    "--memory-mb",
    type=click.IntRange(min=100),
    default=500,
    show_default=True,
    help="Above so many megabytes it is ended and begins anew.",
)
@click.option(
    "--reboot-when-stuck",
    is_flag=True,
    help="Restart the machine when the camera has hung in the kernel for a minute.",
)
@click.option("--print", "only_print", is_flag=True, help="Write the unit to standard output.")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("stream_options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def install(
    ctx: click.Context,
    *,
    name: str,
    user: str | None,
    memory_mb: int,
    reboot_when_stuck: bool,
    only_print: bool,
    bundle: Path,
    stream_options: tuple[str, ...],
) -> None:
    """Write the service that runs `leansight stream BUNDLE`, and start it now and at each boot."""
    if not only_print:
        require_systemd()
    check_name(name)
    Bundle.load(bundle)
    options = [*stream_options, *(["--end-when-stuck"] if reboot_when_stuck else [])]
    asked = _parse(ctx, [str(bundle), *options])
    password_file = asked.params["mqtt_password_file"]
    unit = ServiceUnit(
        name=name,
        bundle=bundle.name,
        command=[*_program(), "stream", str(bundle.absolute()), *_without_password_file(options)],
        user=_unprivileged(user),
        groups=_groups("video", *(["gpio"] if asked.params["pin"] else [])),
        working_directory=Path.cwd(),
        writable=sorted({*_written_folders(asked), *_deciding_folder(bundle)}),
        password_file=password_file.absolute() if password_file else None,
        memory_mb=memory_mb,
        uses_pins=bool(asked.params["pin"]),
        reboots_when_stuck=reboot_when_stuck,
        systemd_version=systemd_version(),
    )
    if only_print:
        echo(unit.text(), nl=False)
        return
    _refuse_temporary(bundle, *unit.writable)
    _check_extras(asked)
    file = _our_file(name)
    _let_decide(unit.user, _deciding_folder(bundle))
    write_text(file, unit.text())
    systemctl("daemon-reload")
    systemctl("enable", name)
    systemctl("restart", "--no-block", name)
    _tell(unit, file)


@command.command()
@name_option
def uninstall(*, name: str) -> None:
    """Stop the service, and remove what `install` has written."""
    require_systemd()
    check_name(name)
    file = _our_file(name)
    if not file.exists():
        raise LeansightError(f"there is no service {name}: {file} does not exist")
    systemctl("disable", "--now", name)
    file.unlink()
    systemctl("daemon-reload")
    echo(f"removed {file}")


@command.command()
@name_option
@click.pass_context
def status(ctx: click.Context, *, name: str) -> None:
    """Tell whether the service runs, its state, and its last lines."""
    check_name(name)
    words = ["systemctl", "status", "--no-pager", "--lines=10", name]
    try:
        ctx.exit(subprocess.run(words, check=False).returncode)
    except FileNotFoundError as error:
        raise LeansightError("there is no systemd here") from error


def _parse(ctx: click.Context, words: Sequence[str]) -> click.Context:
    """Return the values of the options of `leansight stream`, which says what is wrong in them."""
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    stream = root.command.get_command(root, "stream")
    assert stream is not None
    return stream.make_context("stream", list(words), parent=root)


def _check_extras(asked: click.Context) -> None:
    """Raise MissingExtraError where the stream would, again and again, whenever it is started."""
    if asked.params["web"] is not None:
        check_installed("starlette", "uvicorn", extra="web")
    if asked.params["metrics"] is not None:
        check_installed("prometheus_client", extra="metrics")
    if asked.params["mqtt"] is not None:
        check_installed("paho", extra="mqtt")


def _program() -> list[str]:
    """Return how this very leansight is started."""
    script = Path(sys.executable).with_name("leansight")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "from leansight.sdk.commands.cli import main; main()"]


def _without_password_file(words: Sequence[str]) -> list[str]:
    """Return the words without that option: systemd hands the program a copy of the file."""
    kept, rest = [], iter(words)
    for word in rest:
        if word == _PASSWORD_FLAG:
            next(rest)
        elif not word.startswith(f"{_PASSWORD_FLAG}="):
            kept.append(word)
    return kept


def _unprivileged(user: str | None) -> str:
    user = user or os.environ.get("SUDO_USER") or getpass.getuser()
    try:
        is_root = pwd.getpwnam(user).pw_uid == 0
    except KeyError as error:
        raise DataError(f"there is no user {user} here", parameter="user") from error
    if is_root:
        raise DataError("name the user who is to run it, not root", parameter="user")
    return user


def _groups(*names: str) -> list[str]:
    """Return those groups that are there: a unit with another one does not start."""
    there = {group.gr_name for group in grp.getgrall()}
    return [name for name in names if name in there]


def _written_folders(asked: click.Context) -> list[Path]:
    """Return the folders of what the stream writes; DataError for one that is not there."""
    folders = []
    for option in asked.command.params:
        value = asked.params.get(option.name or "")
        if not isinstance(option.type, WrittenPath) or value is None:
            continue
        path = Path(value).absolute()
        folder = path if path.is_dir() else path.parent
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}: make it first ({option.opts[-1]})")
        folders.append(folder)
    return sorted(set(folders))


def _deciding_folder(bundle: Path) -> list[Path]:
    """Return the folder of versions where the bundle is one at work: the stream decides trials."""
    installation = Installation.of_link(bundle.absolute())
    return [] if installation is None else [installation.folder]


def _let_decide(user: str, folders: Sequence[Path]) -> None:
    """Give a folder of versions that is root's to the user: to switch the link takes no more."""
    for folder in folders:
        if folder.stat().st_uid == 0:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)


def _refuse_temporary(*paths: Path) -> None:
    """Refuse what is in /tmp: each service has a /tmp of its own, and the next boot empties it."""
    for path in paths:
        if any(path.absolute().is_relative_to(folder) for folder in _TEMPORARY):
            raise DataError(f"{path} is in a folder for temporary files: choose another place")


def _our_file(name: str) -> Path:
    """Return where the unit is; refuse one that somebody else has written."""
    file = UNITS / f"{name}.service"
    if file.exists() and not file.read_text().startswith(MARK):
        raise LeansightError(
            f"{file} was not written by leansight: choose another name", parameter="name"
        )
    return file


def _tell(unit: ServiceUnit, file: Path) -> None:
    """Say what was done and how to undo it."""
    echo(f"wrote {file}: {unit.name} runs as {unit.user}, now and from each boot on")
    for folder in unit.writable:
        echo(f"it may write {folder}")
    if not limits_memory():
        echo(
            f"its limit of {unit.memory_mb} MB does not hold: add cgroup_enable=memory to the line "
            "in /boot/firmware/cmdline.txt, and restart",
            err=True,
        )
    undo = [*_program(), "service", "uninstall", "--name", unit.name]
    echo(f"see how it is:  leansight service status --name {unit.name}")
    echo(f"read its lines: journalctl --unit {unit.name} --output cat --follow")
    echo(f"undo it:        sudo {shlex.join(undo)}")
