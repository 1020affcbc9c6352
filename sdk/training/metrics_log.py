"""`metrics.csv`: what Lightning logs of each step, in a file that goes on after a kill."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import write_whole
from leansight.sdk.runs.begin import is_first_process
from leansight.sdk.training.checkpoints import LAST_CHECKPOINT, first_sentence, read_checkpoint

METRICS: Final = "metrics.csv"


def open_metrics_log(folder: Path) -> CSVLogger:
    """Return the log in a folder of checkpoints; it goes on after the rows of the last one."""
    rows = earlier_metrics(folder) if is_first_process() else []
    if rows:
        _write(folder / METRICS, list(rows[0]), rows)
    elif is_first_process():
        (folder / METRICS).unlink(missing_ok=True)
    return _MetricsLog(folder, list(rows[0]) if rows else [])


def earlier_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of `metrics.csv` that the last checkpoint goes on from; none without either.

    A last row that a kill or a full disk has cut is left out.

    Raises:
        DataError: a file is damaged.

    """
    file, last = folder / METRICS, folder / LAST_CHECKPOINT
    if not (file.exists() and last.exists()):
        return []
    steps = read_checkpoint(last)["global_step"]
    try:
        rows = _read(file)
        if rows and None in rows[-1].values():
            rows.pop()
        return [row for row in rows if int(row["step"]) < steps]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise DataError(
            f"{file} is damaged ({first_sentence(error)}). To go on without it: remove it"
        ) from error


class _MetricsLog(CSVLogger):
    """Lightning's log, with a writer that deletes nothing."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        super().__init__(folder, name="", version="", flush_logs_every_n_steps=1)
        self._columns = columns

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer."""
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir, self._columns)
        assert isinstance(self._experiment, ExperimentWriter)
        return self._experiment


class _Writer(ExperimentWriter):
    """Adds rows to what is there; a file with another column is written beside it, then renamed."""

    def __init__(self, folder: str, columns: Sequence[str]) -> None:
        super().__init__(folder)
        self.metrics_keys = list(columns)

    def _check_log_dir_exists(self) -> None:
        """Do not delete the file of an interrupted run, as Lightning does."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        file = Path(self.metrics_file_path)
        try:
            _write(file, fieldnames, _read(file))
        except OSError:  # Lightning saves once more as it ends, with the columns that are there
            self.metrics_keys = _columns(file)
            raise


def _read(file: Path) -> list[dict[str, Any]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def _columns(file: Path) -> list[str]:
    with file.open(newline="") as opened:
        return next(csv.reader(opened), [])


def _write(file: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_whole(file, text.getvalue().encode())
