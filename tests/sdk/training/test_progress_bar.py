"""What a person sees of a training, in a terminal of 80 columns."""

import io
import re
from types import SimpleNamespace
from typing import cast

import pytest
from pytorch_lightning import LightningModule, Trainer
from rich.console import Console
from rich.progress import Progress

from leansight.sdk.training.progress_bar import EpochLines, OneLineBar, show_progress


def line_of(bar: OneLineBar, trainer: Trainer, *, columns: int) -> str:
    """Return what the bar shows of the third of six batches."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system=None, width=columns)
    bar.progress = Progress(*bar.configure_columns(trainer), console=console, auto_refresh=False)
    with bar.progress as progress:
        bar.train_progress_bar_id = progress.add_task("Epoch 3/9", total=6, completed=3)
        bar.get_metrics(trainer, LightningModule())
        progress.refresh()
    return re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", screen.getvalue()).split("\r")[-1]


@pytest.fixture
def trainer() -> Trainer:
    scores = {"train_loss": 0.12345, "val_accuracy": 0.875, "val_loss": 2.0}
    loggers = [SimpleNamespace(version="tensorboard")]
    return cast("Trainer", SimpleNamespace(progress_bar_metrics=scores, loggers=loggers))


def test_a_line_holds_the_scores_and_no_version_of_a_log(trainer: Trainer) -> None:
    line = line_of(OneLineBar(), trainer, columns=120)
    assert line.rstrip().endswith(
        "3/6 -:--:-- train_loss: 0.123 val_accuracy: 0.875 val_loss: 2.000"
    )
    assert "v_num" not in line
    assert "oard" not in line


@pytest.mark.parametrize("columns", [80, 60])
def test_a_narrow_terminal_cuts_the_line_off(trainer: Trainer, columns: int) -> None:
    line = line_of(OneLineBar(), trainer, columns=columns)
    assert line.count("\n") == 1
    assert "train_loss: 0" in line
    assert "…" in line
    assert len(line.rstrip("\n")) == columns


def test_a_log_file_gets_one_line_for_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    shown = show_progress()  # pytest is no terminal
    assert isinstance(shown, EpochLines)
    trainer = SimpleNamespace(
        is_global_zero=True, current_epoch=1, max_epochs=12, progress_bar_metrics={"loss": 0.25}
    )
    shown.on_train_epoch_end(cast("Trainer", trainer), LightningModule())
    assert capsys.readouterr().err == "epoch 2 of 12: loss: 0.250\n"
