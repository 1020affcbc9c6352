"""Storage of a search: its definition in its folder, its trials in a journal or a database."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import part_name
from leansight.sdk.system.definition import require_same
from leansight.sdk.system.files import write_json
from leansight.sdk.system.locks import lock, locked

DEFINITION: Final = "optimize.json"
JOURNAL: Final = "trials.journal"
_BUSY_SECONDS: Final = 60  # that SQLite waits for another process


def keep_definition(definition: Mapping[str, Any], folder: Path, storage: str | None) -> str:
    """Write the definition to `folder`, or compare it with the one there; return the study's name.

    Raises:
        DataError: the folder holds another search, or is damaged.

    """
    file = folder / DEFINITION
    values = dict(definition) | {"storage": _without_password(storage)}
    if file.is_file():
        try:
            there = json.loads(file.read_text())
            name = str(there.pop("study"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{file} is damaged: {error}") from error
        require_same(there, values, folder)
        return name
    name = f"{folder.name}-{uuid4().hex[:8]}"  # one database may hold several searches
    write_json(file, values | {"study": name})
    return name


def refuse_foreign(folder: Path) -> None:
    """Raise DataError if the folder holds something else than a search."""
    names = {path.name for path in folder.iterdir()}
    # Another process may be about to begin the search, or was killed then. It writes the
    # definition before all else: looked for after the rest, it is there.
    strange = names - {"locks", part_name(DEFINITION)}
    if strange and not (folder / DEFINITION).is_file():
        raise DataError(
            f"{folder} is neither empty nor a search: choose another folder", parameter="out"
        )


def open_storage(storage: str) -> BaseStorage:
    """Open a database by its URL, else the file of a journal."""
    if "://" not in storage:
        Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(storage, _JournalLock(storage)))
    try:
        return _open_sqlite(storage) if storage.startswith("sqlite") else RDBStorage(storage)
    except (SQLAlchemyError, ImportError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        shown = _without_password(storage)
        raise DataError(f"{shown} cannot be opened: {reason}", parameter="storage") from error


class _JournalLock(JournalFileOpenLock):
    """Held while lines are added to a journal: the journal itself, by the kernel's lock.

    Optuna's own is a file beside it, which others take for held for 30 s after a kill.
    """

    def __init__(self, journal: str) -> None:
        super().__init__(journal)
        self._journal = Path(journal)

    def acquire(self) -> bool:
        self._held = lock(self._journal)
        return True

    def release(self) -> None:
        self._held.close()


def _open_sqlite(url: str) -> BaseStorage:
    """Open a database that other searches may be opening as well: one at a time makes its tables.

    Optuna looks for each table and then makes it, which fails if another process just has.
    """
    with locked(Path(f"{make_url(url).database}.lock")):
        # A connection that waits in a pool is never closed.
        kwargs = {"connect_args": {"timeout": _BUSY_SECONDS}, "poolclass": NullPool}
        return RDBStorage(url, engine_kwargs=kwargs)


def _without_password(storage: str | None) -> str | None:
    if storage is None or "://" not in storage:
        return storage
    try:
        return make_url(storage).render_as_string(hide_password=True)
    except SQLAlchemyError as error:
        raise DataError(str(error), parameter="storage") from error
