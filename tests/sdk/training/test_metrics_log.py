"""`metrics.csv` is whole after a write that failed."""

import csv
from pathlib import Path

import pytest

from leansight.sdk.training.metrics_log import METRICS, open_metrics_log


def test_a_column_that_could_not_be_added_shifts_no_row(tmp_path: Path) -> None:
    log = open_metrics_log(tmp_path)
    log.log_metrics({"loss": 1.5}, 0)
    blocked = tmp_path / f".{METRICS}.part"  # the name that the file has before it is whole
    blocked.mkdir()
    with pytest.raises(OSError, match="part"):
        log.log_metrics({"accuracy": 0.5, "loss": 1.25}, 1)
    with pytest.raises(OSError, match="part"):
        log.finalize("failed")  # as Lightning ends
    blocked.rmdir()
    log.finalize("failed")
    with (tmp_path / METRICS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"accuracy": "", "loss": "1.5", "step": "0"},
        {"accuracy": "0.5", "loss": "1.25", "step": "1"},
    ]
