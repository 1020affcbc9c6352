"""`leansight classify` answers every good file and names every bad one."""

import json
from pathlib import Path

import cv2
import pytest
import tiny_models
from command_line import invoke


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three good pictures, and between them a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, label in (("a", "plain"), ("c", "upright"), ("d", "level")):
        cv2.imwrite(str(folder / f"{name}.png"), tiny_models.stripes(label))
    (folder / "b.png").write_bytes(b"not a picture")
    return folder


@pytest.mark.parametrize(("options", "code"), [((), 1), (("--skip-bad",), 0)])
def test_one_bad_file_does_not_keep_the_others_from_an_answer(
    options: tuple[str, ...], code: int, tiny_bundle: Path, photos: Path
) -> None:
    done = invoke("classify", tiny_bundle, photos, "--json", *options)
    assert done.exit_code == code
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(Path(a["path"]).name, a["label"]) for a in answers] == [
        ("a.png", "plain"),
        ("c.png", "upright"),
        ("d.png", "level"),
    ]
    assert done.stderr == f"leansight: {photos / 'b.png'} is not an image that OpenCV can read\n"


def test_a_path_that_is_not_there_is_a_bad_file_too(tiny_bundle: Path, photos: Path) -> None:
    done = invoke("classify", tiny_bundle, photos / "lost.png", photos / "a.png", photos)
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 4
    lost, bad = done.stderr.splitlines()
    assert lost == f"leansight: {photos / 'lost.png'} does not exist"
    assert "b.png" in bad


def test_names_are_printed_without_their_control_characters(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "\x1b[31mred\n.png"
    cv2.imwrite(str(tmp_path / "a.png"), tiny_models.stripes("plain"))
    (tmp_path / "a.png").rename(photo)
    done = invoke("classify", tiny_bundle, photo)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{tmp_path}/\\x1b[31mred\\n.png: plain (")
