"""What a training shows of its progress: a bar of one line on a terminal, else a line an epoch."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from leansight.sdk.system.console import console, tell

BAR_WIDTH = 16


def show_progress() -> pl.Callback:
    """Return what shows the progress of a training where its standard error goes."""
    return OneLineBar() if console().is_terminal else EpochLines()


class EpochLines(pl.Callback):
    """One line for each epoch, for the log file of a training that runs in the background."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the losses and scores of the epoch."""
        del pl_module
        if trainer.is_global_zero:
            scores = (f"{k}: {float(v):.3f}" for k, v in trainer.progress_bar_metrics.items())
            tell(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {' '.join(scores)}")


class OneLineBar(RichProgressBar):
    """Lightning's bar on standard error, without the version numbers of its logs."""

    def __init__(self) -> None:
        super().__init__(leave=False, console_kwargs={"stderr": True})
        self._scores = _Scores(self)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return nothing for Lightning's own column, which breaks into lines: see `_Scores`."""
        scores = super().get_metrics(trainer, pl_module)
        scores.pop("v_num", None)
        self._scores.text = " ".join(
            f"{name}: {value:.3f}" for name, value in scores.items() if isinstance(value, float)
        )
        return {}

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Return what a line shows, from left to right."""
        del trainer
        return [
            TextColumn("{task.description}"),
            BarColumn(BAR_WIDTH),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            self._scores,
        ]


class _Scores(ProgressColumn):
    """The losses and scores of an epoch, cut off at the edge of the terminal."""

    def __init__(self, bar: OneLineBar) -> None:
        super().__init__()
        self._bar = bar
        self.text = ""

    def render(self, task: Task) -> Text:
        """Return the text of the line of an epoch; of other lines nothing."""
        shown = self.text if task.id == self._bar.train_progress_bar_id else ""
        return Text(shown, no_wrap=True, overflow="ellipsis")
