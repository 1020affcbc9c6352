"""Whatever is wrong with a file, a command works or ends in one line; it raises nothing else."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import onnx
import pytest
import shapes
import tiny_models
from command_line import invoke
from tiny_run import untrained_run

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import LeansightError
from leansight.runtime.preprocessing import Preprocessing

Damage = Callable[[bytes], bytes]


def a_zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("other/notes.txt", "something else")
    return data.getvalue()


def flipped(seed: int) -> Damage:
    """Return what changes one byte in two hundred, at least one."""

    def flip(data: bytes) -> bytes:
        rng, changed = np.random.default_rng(seed), bytearray(data)
        for place in rng.integers(0, len(data), max(1, len(data) // 200)):
            changed[place] ^= int(rng.integers(1, 256))
        return bytes(changed)

    return flip


DAMAGES: Final[dict[str, Damage]] = {
    "empty": lambda _: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "without its beginning": lambda data: data[len(data) // 2 :],
    "zeros": lambda data: bytes(len(data)),
    "noise": lambda _: np.random.default_rng(0).bytes(400),
    "changed bytes": flipped(0),
    "other changed bytes": flipped(1),
    "twice": lambda data: data + data,
    "a text": lambda _: b"not this\n",
    "Latin-1": lambda _: "café;ä\n".encode("latin-1"),
    "UTF-16": lambda _: "a,b\n1,2\n".encode("utf-16"),
    "NUL bytes": lambda data: data.replace(b",", b"\0"),
    "a picture": lambda _: cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes(),
    "a zip": lambda _: a_zip(),
    "another JSON": lambda _: b"[1, 2]",
    "a number": lambda _: b"3",
    "an empty object": lambda _: b"{}",
    "nested too deeply": lambda _: b"[" * 100_000,
    "huge numbers": lambda data: re.sub(rb"\d+\.?\d*", b"1e999", data),
    "negative numbers": lambda data: re.sub(rb"\d+", b"-1", data),
}


def damages_of(file: Path) -> Iterator[str]:
    """Damage a file in one way after the other, yield what was done, and mend it at the end."""
    data = file.read_bytes()
    for name, damage in DAMAGES.items():
        if damage(data) != data:
            file.write_bytes(damage(data))
            yield name
    file.unlink()
    yield "missing"
    file.mkdir()
    yield "a folder"
    file.rmdir()
    file.symlink_to(file)
    yield "a link to itself"
    file.unlink()
    file.write_bytes(data)


def say(*arguments: object) -> str:
    """Return what a command says of a fault, "" if there is none; other errors fail the test."""
    done = invoke(*arguments)
    error = done.exception
    if error is None or (isinstance(error, SystemExit) and error.code in (0, 1, 2)):
        return done.stderr
    if isinstance(error, OSError) and not isinstance(error, LeansightError):
        assert error.filename, error  # else the line names no file
    assert isinstance(error, LeansightError | OSError), repr(error)
    assert str(error).strip()
    return str(error)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    cv2.imwrite(str(file), tiny_models.stripes("plain"))
    return file


@pytest.mark.parametrize(
    ("name", "model_format"),
    [("bundle.json", "tflite"), ("model.tflite", "tflite"), ("model.onnx", "onnx")],
)
def test_a_bundle_with_a_damaged_file(
    name: str, model_format: str, tiny_bundle: Path, photo: Path
) -> None:
    for damage in damages_of(tiny_bundle / name):
        said = say("classify", tiny_bundle, photo, "--format", model_format)
        assert str(tiny_bundle) in said, damage


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx", "golden.npz"])
def test_a_bundle_made_of_damaged_files(
    name: str, tiny_tflite: bytes, tiny_onnx: bytes, photo: Path, tmp_path: Path
) -> None:
    """Their digests are right: nothing but the content is wrong."""
    golden = io.BytesIO()
    logits = np.zeros((1, 3), np.float32)
    image, pixels = cv2.imread(str(photo)), np.zeros((1, 8, 8, 1), np.uint8)
    assert image is not None
    np.savez(golden, photo_0=image, pixels=pixels, logits_tflite=logits, logits_onnx=logits)
    sound = {"model.tflite": tiny_tflite, "model.onnx": tiny_onnx, "golden.npz": golden.getvalue()}
    for number, damage in enumerate(DAMAGES.values()):
        bundle = Bundle(
            path=tmp_path / f"{number}.bundle",
            name="damaged",
            labels=tiny_models.LABELS,
            preprocessing=Preprocessing(size=8, colour="gray"),
            decision=DecisionPolicy(threshold=0.5),
            precision="float32",
        )
        write_bundle(bundle, sound | {name: damage(sound[name])})
        chosen = "onnx" if name == "model.onnx" else "tflite"
        said = say("check", bundle.path, "--format", chosen)
        assert not said or str(bundle.path) in said


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp", ".ppm"])
def test_a_damaged_photo(suffix: str, tiny_bundle: Path, tmp_path: Path) -> None:
    photo = tmp_path / f"photo{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    cv2.imwrite(str(photo), noise)
    for damage in damages_of(photo):
        said = say("classify", tiny_bundle, photo)
        assert not said or f"photo{suffix}" in said, damage
        assert said.count("\n") <= 1


@pytest.mark.parametrize(
    "name", ["run.json", "start.json", "train.csv", "validation.csv", "model.safetensors"]
)
def test_a_run_with_a_damaged_file(
    name: str, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = untrained_run(tmp_path, shapes.RECIPE)

    def stop(*_: object, **__: object) -> None:
        raise LeansightError("the work begins")

    monkeypatch.setattr("leansight.sdk.training.train.train_network", stop)
    monkeypatch.setattr("leansight.sdk.evaluation.evaluate.measure_report", stop)
    report, out = ("--out", tmp_path / "report"), ("--out", tmp_path / "new", "--workers", "0")
    recipe = ("--recipe", tmp_path / "tiny.toml")
    for _ in damages_of(run.path / name):
        say("evaluate", run.path, run.data, *report)
        say("evaluate", tiny_bundle, run.data, "--lists", run.path, *report)
        say("train", run.data, *recipe, "--lists", run.path, *out)
        assert not (tmp_path / "report").exists()


def test_a_damaged_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(tmp_path, shapes.RECIPE)
    recipe = tmp_path / "tiny.toml"

    def stop(*_: object, **__: object) -> None:
        raise LeansightError("the work begins")

    monkeypatch.setattr("leansight.sdk.training.train.train", stop)
    for damage in damages_of(recipe):
        said = say("train", run.data, "--recipe", recipe, "--out", tmp_path / "new")
        assert "the work begins" in said or "tiny.toml" in said, damage


def test_a_damaged_network_from_elsewhere(
    tmp_path: Path, tiny_onnx: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shapes.write_data_set(tmp_path / "shapes", videos=2)
    network, labels = tmp_path / "network.onnx", tmp_path / "labels.txt"
    network.write_bytes(tiny_onnx)
    labels.write_text("\n".join(shapes.LABELS))
    how = ("--labels", labels, "--colour", "gray", "--mean", "128", "--std", "128")

    def stop(*_: object, **__: object) -> None:
        raise LeansightError("the work begins")

    monkeypatch.setattr("leansight.exporters.export.export_network", stop)
    for file in (network, labels):
        for _ in damages_of(file):
            say("export", network, "--data", data, *how, "--out", tmp_path / "x.bundle")
            assert not (tmp_path / "x.bundle").exists()


@pytest.mark.parametrize(
    "out",
    [
        lambda folder: folder / "a file" / "below",
        lambda _: Path("/proc/none"),
        lambda _: Path("/dev/null/below"),
        lambda folder: folder / ("a" * 300),
    ],
)
@pytest.mark.parametrize("command", ["train", "evaluate", "certify", "stats", "signs", "video"])
def test_a_place_where_nothing_can_be_written(
    out: Callable[[Path], Path], command: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    data = shapes.write_data_set(tmp_path / "shapes", videos=2)
    (tmp_path / "tiny.toml").write_text(shapes.RECIPE)
    (tmp_path / "a file").touch()
    place = out(tmp_path)
    recipe = ("--recipe", tmp_path / "tiny.toml", "--workers", "0")
    said = say(
        *{
            "train": ("train", data, *recipe, "--out", place),
            "evaluate": ("evaluate", tiny_bundle, data, "--out", place),
            "certify": ("certify", tiny_bundle, data, "--out", place),
            "stats": ("data", "stats", data, "--out", f"{place}.png"),
            "signs": ("data", "signs", place, "--images", "400"),
            "video": ("data", "video", f"{place}.mp4", "--seconds", "1"),
        }[command]
    )
    assert place.name[:200] in said or place.parent.name in said


NAMES = ["[/x]", "[red]", "$x_{$", "%s", "{x}", "  ", "-rf", "é", "a" * 120, "a\x1b[31mb", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_fine_or_said(name: str, tiny_bundle: Path, tmp_path: Path) -> None:
    data, bundle = tmp_path / "data" / name, tmp_path / f"{name}.bundle"
    for label in ("plain", "level", name):
        (data / label).mkdir(parents=True)
        for number in range(3):
            noise = np.random.default_rng(number + len(label)).integers(0, 256, (8, 8), np.uint8)
            cv2.imwrite(str(data / label / f"{number}.png"), noise)
    manifest = json.loads((tiny_bundle / "bundle.json").read_text())
    sound = {n: (tiny_bundle / n).read_bytes() for n in manifest["files"]}
    write_bundle(
        Bundle(
            path=bundle,
            name=name,
            labels=("plain", "level", name),
            preprocessing=Preprocessing(size=8, colour="gray"),
            decision=DecisionPolicy(),
            precision="float32",
        ),
        sound,
    )
    say("evaluate", "--out", tmp_path / "report", "--", bundle, data)
    say("data", "stats", "--out", tmp_path / "figures.png", "--", data)
    say("classify", "--", bundle, data)


def test_an_onnx_file_without_its_weights_is_named(tmp_path: Path, tiny_onnx: bytes) -> None:
    file = tmp_path / "two.onnx"
    parsed = onnx.load_model_from_string(tiny_onnx)
    onnx.save(parsed, file, save_as_external_data=True, location="two.data", size_threshold=0)
    (tmp_path / "two.data").unlink()
    assert "two.onnx keeps its weights in two.data" in say("bench", file)
