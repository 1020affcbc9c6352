from pathlib import Path

import pytest

from leansight.runtime.errors import DataError
from leansight.sdk.data.duplicates import find_copies, require_one_class
from leansight.sdk.data.samples import Box, Sample


def write(root: Path, name: str, data: bytes, box: Box | None = None) -> Sample:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(data)
    return Sample(path=Path(name), labels=(name.partition("/")[0],), box=box)


def test_files_of_the_same_bytes_are_copies(tmp_path: Path) -> None:
    long = bytes(9000)
    samples = [
        write(tmp_path, "a/1", long + b"x"),
        write(tmp_path, "b/1", long + b"x"),
        write(tmp_path, "a/2", b"y" + long),  # as long, another beginning
        write(tmp_path, "a/3", long + b"z"),  # as long, another end
        write(tmp_path, "a/4", b""),
        write(tmp_path, "b/4", b""),  # empty files are no photos
    ]
    assert find_copies(tmp_path, samples) == [samples[:2]]


def test_a_photo_in_two_classes_is_an_error_that_names_both(tmp_path: Path) -> None:
    samples = [write(tmp_path, f"{label}/1.png", b"photo") for label in ("rain", "sun")]
    named = r"two classes: rain/1\.png \(rain\) and sun/1\.png \(sun\): keep one"
    with pytest.raises(DataError, match=named):
        require_one_class(find_copies(tmp_path, samples))


def test_copies_of_one_class_and_regions_of_one_photo_are_no_error(tmp_path: Path) -> None:
    samples = [write(tmp_path, f"rain/{n}.png", b"photo") for n in range(2)]
    require_one_class(find_copies(tmp_path, samples))
    regions = [
        write(tmp_path, "rain/3.png", b"photos", (0, 0, 5, 5)),
        write(tmp_path, "sun/3.png", b"photos", (5, 5, 9, 9)),
    ]
    assert find_copies(tmp_path, regions) == []
