"""A folder where a program keeps what it can find out again, the user's own."""

import os
from pathlib import Path
from typing import Final

_OTHERS_WRITE: Final = 0o022


def user_cache() -> Path:
    """Return leansight's folder: systemd's for a service, or below the home folder.

    It need not be there, see `is_own`; systemd names it in $CACHE_DIRECTORY (systemd.exec(5)).
    """
    if service := os.environ.get("CACHE_DIRECTORY"):
        return Path(service.partition(":")[0])
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "leansight"


def is_own(folder: Path) -> bool:
    """Return whether a folder is this user's, and only this user may write it."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):  # Windows: what is below the home folder is the user's
        return folder.is_dir()
    is_folder = folder.is_dir() and not folder.is_symlink()
    return is_folder and status.st_uid == os.getuid() and not status.st_mode & _OTHERS_WRITE
