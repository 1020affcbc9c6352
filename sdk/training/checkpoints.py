"""Lightning's checkpoints of a training: written whole, and read without trusting them."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from leansight.runtime.errors import DataError
from leansight.runtime.system.whole_files import write_whole
from leansight.sdk.system.console import tell

LAST_CHECKPOINT: Final = "last.ckpt"
BEST_CHECKPOINT: Final = "best.ckpt"
_DAMAGED: Final = ".damaged"  # how the name of one ends that was put aside


class WholeCheckpoints(TorchCheckpointIO):
    """Writes each checkpoint beside its place: Lightning moves it there from the folder for tmp.

    Where that is another file system, a kill in the middle leaves half a checkpoint in the place of
    the one before.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: object = None,
    ) -> None:
        """Write what torch makes of `checkpoint`; OSError if there is no room."""
        del storage_options
        data = io.BytesIO()  # torch itself does not say that a disk is full
        torch.save(checkpoint, data)
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data.getvalue())


def read_checkpoint(file: Path) -> Mapping[str, Any]:
    """Return what Lightning stored of a training; DataError if the file is damaged."""
    file.open("rb").close()  # no right to read it is another fault
    try:
        stored: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        _ = stored["epoch"], stored["global_step"], stored["state_dict"]
    except Exception as error:  # torch, zipfile and pickle raise what damaged bytes lead to
        raise DataError(
            f"{file} is damaged ({first_sentence(error)}). To begin again: remove it"
        ) from error
    return stored


def mend_checkpoints(folder: Path) -> None:
    """Put the last epoch's checkpoint in the place of a damaged best one, and the other way round.

    The damaged one is renamed, and named. Nothing is done where there are none.

    Raises:
        DataError: both are damaged, or one is and there is no other.

    """
    last, best = folder / LAST_CHECKPOINT, folder / BEST_CHECKPOINT
    damages = {file: damage for file in (last, best) if file.exists() and (damage := _damage(file))}
    for file, damage in damages.items():
        other = best if file == last else last
        if other in damages or not other.exists():
            raise damage
        aside = file.with_name(file.name + _DAMAGED)
        file.replace(aside)
        write_whole(file, other.read_bytes())
        tell(f"{file} is damaged (it is now {aside.name}): {other.name} takes its place")


def _damage(file: Path) -> DataError | None:
    try:
        read_checkpoint(file)
    except DataError as error:
        return error
    return None


def first_sentence(error: Exception) -> str:
    """Return the first sentence of an error, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
