"""Files of weights are data: what would run is refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

from leansight.runtime.errors import DataError
from leansight.sdk.models.weights_file import read_weights


class Touch:
    """What unpickling would make a file of."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.file,)


def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "it ran"
    torch.save({"weight": Touch(proof)}, tmp_path / "bad.pth")
    torch.load(tmp_path / "bad.pth", weights_only=False)
    assert proof.exists()  # as torch itself would
    proof.unlink()
    with pytest.raises(DataError, match=r"would run code: save network.state_dict\(\) alone$"):
        read_weights(tmp_path / "bad.pth")
    assert not proof.exists()


def test_a_whole_network_is_refused_with_what_to_save(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(DataError, match=r"torch.save\(network\)"):
        read_weights(tmp_path / "whole.pth")


@pytest.mark.parametrize("name", ["text.pth", "text.safetensors"])
def test_other_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("no weights\n" * 9)
    with pytest.raises(DataError, match=rf"^weights .*{name} cannot be read[^\n]*$"):
        read_weights(tmp_path / name)


def test_smoothed_weights_are_taken_where_there_are_two(tmp_path: Path) -> None:
    plain, smooth = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    torch.save({"state_dict": plain, "state_dict_ema": smooth}, tmp_path / "two.pth")
    assert read_weights(tmp_path / "two.pth")["w"].tolist() == [1, 1]
