from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes

from leansight.runtime.errors import DataError
from leansight.sdk.data.layouts.detect import find_samples
from leansight.sdk.deployment.travelling import read_golden, read_notes


def test_golden_photos_are_samples_unless_a_folder_has_others(tmp_path: Path) -> None:
    data, drawn = shapes.write_data_set(tmp_path / "shapes"), tmp_path / "drawn"
    samples = find_samples(data)
    (drawn / "a").mkdir(parents=True)
    picture = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    assert cv2.imwrite(str(drawn / "a" / "one.png"), picture)
    mine = read_golden(None, data, samples)
    known = [cv2.imread(str(data / sample.path)) for sample in samples]
    assert len(mine) == 8
    assert all(any(np.array_equal(photo, one) for one in known) for photo in mine)
    (only,) = read_golden(drawn, data, samples)
    np.testing.assert_array_equal(only, picture)


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "gone does not exist"), ("empty", "holds no image")]
)
def test_a_folder_without_golden_photos_is_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        read_golden(tmp_path / name, tmp_path, [])


def test_notes_are_the_text_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "card.md").write_text("\n## Data\n\nMüller's photos.\n")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\xff")
    assert read_notes(None) == {}
    assert read_notes(tmp_path / "card.md") == {"notes": "## Data\n\nMüller's photos."}
    for name in ("gone.md", "photo.png"):
        with pytest.raises(DataError, match=f"{name} is no text for the model card"):
            read_notes(tmp_path / name)
