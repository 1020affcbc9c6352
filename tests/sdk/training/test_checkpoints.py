"""Are checkpoints written whole, and is a damaged one replaced by the other?"""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from leansight.runtime.errors import DataError
from leansight.sdk.training.checkpoints import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    WholeCheckpoints,
    mend_checkpoints,
    read_checkpoint,
)


def checkpoint(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "global_step": 6 * epoch, "state_dict": {"weight": torch.ones(epoch)}}


def write(folder: Path) -> None:
    """Write checkpoints of epoch 3, the best, and 5, the last."""
    for name, epoch in ((BEST_CHECKPOINT, 3), (LAST_CHECKPOINT, 5)):
        WholeCheckpoints().save_checkpoint(checkpoint(epoch), folder / name)


def epochs(folder: Path) -> list[int]:
    return [read_checkpoint(folder / name)["epoch"] for name in (BEST_CHECKPOINT, LAST_CHECKPOINT)]


def damage(file: Path) -> bytes:
    half = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(half)
    return half


def test_a_checkpoint_is_written_beside_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's own is written to the folder for temporary files, and moved from there."""
    file = tmp_path / "checkpoints" / LAST_CHECKPOINT
    WholeCheckpoints().save_checkpoint(checkpoint(1), file)

    def killed(_: int) -> None:
        assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {file.parent}
        raise KeyboardInterrupt

    with monkeypatch.context() as killing:
        killing.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            WholeCheckpoints().save_checkpoint(checkpoint(2), file)
    assert read_checkpoint(file)["epoch"] == 1
    assert list(file.parent.iterdir()) == [file]


def test_whole_checkpoints_are_left_alone(tmp_path: Path) -> None:
    mend_checkpoints(tmp_path / "none")
    write(tmp_path)
    mend_checkpoints(tmp_path)
    assert epochs(tmp_path) == [3, 5]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("damaged", "after"), [(LAST_CHECKPOINT, [3, 3]), (BEST_CHECKPOINT, [5, 5])]
)
def test_a_damaged_checkpoint_is_named_and_replaced_by_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: str, after: list[int]
) -> None:
    write(tmp_path)
    half = damage(tmp_path / damaged)
    mend_checkpoints(tmp_path)
    assert epochs(tmp_path) == after
    assert (tmp_path / f"{damaged}.damaged").read_bytes() == half
    assert f"{damaged} is damaged (it is now {damaged}.damaged)" in capsys.readouterr().err


@pytest.mark.parametrize("others", [[BEST_CHECKPOINT], []], ids=["both", "alone"])
def test_without_a_whole_checkpoint_the_damaged_one_is_named(
    tmp_path: Path, others: list[str]
) -> None:
    write(tmp_path)
    for name in (LAST_CHECKPOINT, *others):
        damage(tmp_path / name)
    if not others:
        (tmp_path / BEST_CHECKPOINT).unlink()
    with pytest.raises(DataError, match=r"last\.ckpt is damaged .*To begin again: remove it"):
        mend_checkpoints(tmp_path)
