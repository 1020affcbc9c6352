import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leansight.runtime.bundle import Bundle, FileRecord, write_bundle
from leansight.runtime.decision import DecisionPolicy, Task
from leansight.runtime.errors import BundleError
from leansight.runtime.preprocessing import Clahe, Preprocessing

CONTENTS = {
    "model.tflite": b"a model" * 40,
    "model.onnx": b"another model" * 40,
    "golden.npz": b"inputs and outputs" * 10,
    "README.md": b"# A card\n",
}


def a_bundle(path: Path, **values: Any) -> Bundle:  # noqa: ANN401 -- any field of Bundle
    bundle = Bundle(
        path=path,
        name="signs",
        labels=("stop", "yield", "300 m à droite"),
        preprocessing=Preprocessing(size=64, colour="gray", clahe=Clahe()),
        decision=DecisionPolicy(threshold=0.75, temperature=1.5),
        precision="int8",
        provenance={"recipe": {"name": "small", "epochs": 3}, "seed": None},
        metrics={"accuracy": 0.1 + 0.2, "classes": [1, 2.5]},
    )
    return replace(bundle, **values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_bundle(a_bundle(tmp_path / "signs.bundle"), CONTENTS)
    return tmp_path / "signs.bundle"


def zipped(folder: Path, inside: str = "") -> Path:
    out = folder.with_suffix(".zip")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, inside + file.name)
    return out


def craft(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the manifest as an attacker would: with a digest that is right again."""
    manifest = json.loads((folder / "bundle.json").read_text())
    change(manifest)
    del manifest["digest"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    manifest["digest"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def loaded_or_refused(path: Path) -> str | None:
    """Return the digest of a bundle, or None if it is refused in one line."""
    try:
        return Bundle.load(path).digest
    except BundleError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    return None


# Reading


def test_a_bundle_comes_back_as_it_was_written(folder: Path) -> None:
    bundle = Bundle.load(str(folder))
    assert replace(bundle, files={}, digest="") == a_bundle(folder)
    for name, data in CONTENTS.items():
        assert bundle.read(name) == data
        assert bundle.files[name].sha256 == hashlib.sha256(data).hexdigest()
        assert bundle.files[name].size_bytes == len(data)


@pytest.mark.parametrize("task", ["classification", "multilabel"])
def test_the_task_is_written_into_the_manifest(tmp_path: Path, task: Task) -> None:
    bundle = write_bundle(a_bundle(tmp_path / "b", task=task), CONTENTS)
    assert json.loads((tmp_path / "b" / "bundle.json").read_text())["task"] == task
    assert bundle.task == task


@pytest.mark.parametrize("inside", ["", "signs.bundle/", "downloads/signs.bundle/"])
def test_a_zip_is_read_like_its_folder(folder: Path, inside: str) -> None:
    archive = zipped(folder, inside)
    bundle = Bundle.load(archive)
    assert replace(bundle, path=folder) == Bundle.load(folder)
    assert {name: bundle.read(name) for name in bundle.files} == CONTENTS


def test_the_digest_stands_for_the_whole_bundle(folder: Path, tmp_path: Path) -> None:
    same = write_bundle(a_bundle(tmp_path / "same"), CONTENTS)
    other = write_bundle(a_bundle(tmp_path / "other"), {**CONTENTS, "README.md": b"# Another\n"})
    assert same.digest == Bundle.load(folder).digest
    assert other.digest != same.digest


@pytest.mark.parametrize(
    ("names", "formats"),
    [
        (["model.onnx", "model.tflite"], ("tflite", "onnx")),
        (["model.onnx"], ("onnx",)),
        (["model.tflite"], ("tflite",)),
    ],
)
def test_formats_are_those_held_and_tflite_comes_first(
    tmp_path: Path, names: list[str], formats: tuple[str, ...]
) -> None:
    bundle = write_bundle(a_bundle(tmp_path / "b"), {name: CONTENTS[name] for name in names})
    assert bundle.formats == formats
    assert bundle.choose_format() == formats[0]
    for held in bundle.formats:
        assert bundle.choose_format(held) == held


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ({"ai_edge_litert", "onnxruntime"}, "tflite"),
        ({"tflite_runtime"}, "tflite"),
        ({"onnxruntime"}, "onnx"),
        (set(), "tflite"),
    ],
)
def test_by_default_the_format_is_one_that_can_run_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, installed: set[str], chosen: str
) -> None:
    def find(name: str) -> str | None:
        return name if name in installed else None

    monkeypatch.setattr("leansight.runtime.interpreter.find_spec", find)
    assert Bundle.load(folder).choose_format() == chosen
    assert Bundle.load(folder).choose_format("onnx") == "onnx"


def test_a_format_that_is_not_held_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(a_bundle(tmp_path / "b"), {"model.onnx": b"x"})
    with pytest.raises(BundleError, match=r"b has no tflite: it holds onnx$"):
        bundle.choose_format("tflite")
    empty = write_bundle(a_bundle(tmp_path / "empty"), {"README.md": b"x"})
    with pytest.raises(BundleError, match=r"empty has no model: it holds no model$"):
        empty.choose_format()


# Damage


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_changed_byte_is_found(folder: Path, name: str, place: int, *, as_zip: bool) -> None:
    data = bytearray(CONTENTS[name])
    data[place] ^= 1
    (folder / name).write_bytes(data)
    path = zipped(folder) if as_zip else folder
    with pytest.raises(BundleError, match=rf"{name} was changed after it was made .*Copy"):
        Bundle.load(path)


def test_a_changed_byte_of_the_manifest_is_found_or_changes_nothing(folder: Path) -> None:
    whole = Bundle.load(folder)
    manifest = folder / "bundle.json"
    data = manifest.read_bytes()
    for place in range(0, len(data), 3):
        changed = bytearray(data)
        changed[place] ^= 1
        manifest.write_bytes(changed)
        # White space between values means nothing.
        assert loaded_or_refused(folder) in {None, whole.digest}


def test_a_changed_setting_is_found(folder: Path) -> None:
    manifest = folder / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"threshold": 0.75', '"threshold": 0.05'))
    with pytest.raises(BundleError, match=r"bundle.json was changed after it was made .*digest"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("left", [0, 5])
def test_a_truncated_file_is_found(folder: Path, name: str, left: int) -> None:
    (folder / name).write_bytes(CONTENTS[name][:left])
    message = rf"{name} is damaged: {left} bytes instead of {len(CONTENTS[name])}. Copy"
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_cannot_be_opened_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(BundleError, match=rf"{name} cannot be opened: Is a directory"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_missing_file_is_found(folder: Path, name: str, *, as_zip: bool) -> None:
    (folder / name).unlink()
    path = zipped(folder) if as_zip else folder
    with pytest.raises(BundleError, match=rf"{path.name} has no {name}: it is incomplete"):
        Bundle.load(path)


def test_a_file_that_changes_after_loading_is_found(folder: Path) -> None:
    bundle = Bundle.load(folder)
    (folder / "model.onnx").write_bytes(CONTENTS["model.onnx"].swapcase())
    with pytest.raises(BundleError, match=r"model.onnx was changed after it was made"):
        bundle.read("model.onnx")


@pytest.mark.parametrize("text", ["", "{", "[1", '"', "\xff\xfe", "[" * 100_000])
def test_a_manifest_that_is_no_json_is_refused(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"bundle.json is damaged"):
        Bundle.load(folder)


@pytest.mark.parametrize(("version", "said"), [(2, "2"), (0, "0"), ("1", "1"), (None, "None")])
def test_another_format_version_is_refused(folder: Path, version: object, said: str) -> None:
    craft(folder, lambda manifest: manifest.update(format_version=version))
    with pytest.raises(BundleError, match=f"has format version {said}; this leansight reads 1"):
        Bundle.load(folder)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}"])
def test_a_manifest_that_is_something_else_is_refused(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match="has format version None; this leansight reads 1"):
        Bundle.load(folder)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere does not exist$"):
        Bundle.load(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"has no bundle.json: it is not a bundle$"):
        Bundle.load(tmp_path)
    (tmp_path / "text.bundle").write_text("this is no archive")
    with pytest.raises(BundleError, match=r"neither a bundle folder nor a sound zip of one"):
        Bundle.load(tmp_path / "text.bundle")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.jpg", b"")
    with pytest.raises(BundleError, match=r"photos.zip has no bundle.json: it is not a bundle$"):
        Bundle.load(tmp_path / "photos.zip")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 10_000), mask=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_zip_gives_one_line_or_what_it_held(
    folder: Path, place: int, mask: int, *, cut: bool
) -> None:
    whole = Bundle.load(folder)
    data = bytearray(zipped(folder).read_bytes())
    if cut:
        del data[place % len(data) :]
    else:
        data[place % len(data)] ^= mask
    damaged = folder.with_name("damaged.zip")
    damaged.write_bytes(data)
    # Dates and permissions are not used.
    assert loaded_or_refused(damaged) in {None, whole.digest}


def test_an_encrypted_zip_is_refused(folder: Path) -> None:
    data = zipped(folder).read_bytes()
    # Bit 0 of the flags of every entry, in the local and in the central header.
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        pieces = data.split(signature)
        data = signature.join(
            [pieces[0]]
            + [p[: flags - 4] + bytes([p[flags - 4] | 1]) + p[flags - 3 :] for p in pieces[1:]]
        )
    folder.with_suffix(".zip").write_bytes(data)
    with pytest.raises(BundleError, match=r"neither a bundle folder nor a sound zip .*encrypted"):
        Bundle.load(folder.with_suffix(".zip"))


# Attacks: the manifest is forged and its digest is right.


@pytest.mark.parametrize(
    "name",
    [
        *("../secret", "/etc/hostname", "sub/../../secret", "sub/file", "..", ".", ""),
        *("..\\secret", "C:secret", "model\0.tflite"),
    ],
)
@pytest.mark.parametrize("as_zip", [False, True])
def test_a_file_outside_the_bundle_is_not_read(folder: Path, name: str, *, as_zip: bool) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    record = vars(FileRecord.of(b"secret"))
    craft(folder, lambda manifest: manifest["files"].update({name: record}))
    path = zipped(folder) if as_zip else folder
    with pytest.raises(BundleError, match="names a file outside itself"):
        Bundle.load(path)


@pytest.mark.parametrize("as_zip", [False, True])
def test_no_more_is_read_than_the_record_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, as_zip: bool
) -> None:
    """A file of 64 MB of zeros, some 64 KB as a zip, with a record of 280 bytes."""
    (folder / "model.tflite").write_bytes(bytes(64 << 20))
    path = zipped(folder) if as_zip else folder
    hashed: list[int] = []
    monkeypatch.setattr(FileRecord, "of", lambda data: hashed.append(len(data)))
    with pytest.raises(BundleError, match=r"at most 280 are read|would become"):
        Bundle.load(path)
    assert hashed == []


@pytest.mark.parametrize("size", ["280", 280.0, -2, None, True])
def test_a_size_that_is_no_whole_number_is_refused(folder: Path, size: object) -> None:
    craft(folder, lambda manifest: manifest["files"]["model.tflite"].update(size_bytes=size))
    with pytest.raises(BundleError, match="size_bytes must be a whole number, not"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["stop"]}, "two or more different labels"),
        ({"labels": ["stop", "stop"]}, "two or more different labels"),
        ({"labels": [1, 2]}, "labels are text"),
        ({"labels": 3}, "does not describe a bundle"),
        ({"precision": "int4"}, "precision must be int8 or float32, not 'int4'"),
        ({"float_layers": [3]}, "float_layers are names of layers of an int8 network, not"),
        (
            {"float_layers": ["conv"], "precision": "float32"},
            "float_layers are names of layers of an int8 network, not",
        ),
        ({"task": "detection"}, "task must be classification or multilabel, not 'detection'"),
        ({"task": None}, "task must be classification or multilabel, not None"),
        ({"preprocessing": {"size": 0}}, "size must be a whole number from 1"),
        ({"preprocessing": {"size": "64"}}, "does not describe a bundle"),
        ({"preprocessing": {"size": 64, "script": "x"}}, "script"),
        ({"decision": {"threshold": 2}}, "threshold must be from 0 to 1"),
        ({"decision": []}, "does not describe a bundle"),
        ({"decision": {"threshold": True}}, "are numbers, not true or false"),
        ({"decision": {"temperature": True}}, "are numbers, not true or false"),
        ({"decision": {"label_thresholds": {"stop": False}}}, "are numbers, not true or false"),
        ({"preprocessing": {"size": 64, "clahe": {"clip_limit": True}}}, "clip_limit must be"),
        ({"files": ["model.tflite"]}, "does not describe a bundle"),
        ({"files": {"model.tflite": {"sha256": "x"}}}, "does not describe a bundle"),
    ],
)
def test_a_manifest_with_wrong_values_is_refused(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    craft(folder, lambda manifest: manifest.update(change))
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


@pytest.mark.parametrize(
    "name",
    ["name", "labels", "preprocessing", "decision", "precision", "task", "files", "metrics"],
)
def test_a_manifest_without_a_field_is_refused(folder: Path, name: str) -> None:
    craft(folder, lambda manifest: manifest.pop(name))
    with pytest.raises(BundleError, match=f"does not describe a bundle: KeyError.'{name}'"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ((), "int8"),
        (("stem",), "int8, 1 layer float32"),
        (("stem", "add", "head"), "int8, 3 layers float32"),
    ],
)
def test_a_bundle_says_which_layers_are_float(
    tmp_path: Path, layers: tuple[str, ...], text: str
) -> None:
    bundle = write_bundle(a_bundle(tmp_path / "b", float_layers=layers), CONTENTS)
    manifest = json.loads((bundle.path / "bundle.json").read_text())
    assert (manifest["precision"], manifest["float_layers"]) == ("int8", list(layers))
    assert (bundle.float_layers, bundle.precision_text) == (layers, text)


def test_a_bundle_from_before_layers_could_be_named_is_read(folder: Path) -> None:
    craft(folder, lambda manifest: manifest.pop("float_layers"))
    assert Bundle.load(folder).precision_text == "int8"


def test_a_float_bundle_is_called_float(tmp_path: Path) -> None:
    bundle = write_bundle(a_bundle(tmp_path / "b", precision="float32"), CONTENTS)
    assert bundle.precision_text == "float32"


class _Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._folder),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    fired = tmp_path / "fired"
    buffer = io.BytesIO()
    np.savez(buffer, inputs=np.array([_Bomb(fired)], object))
    contents = {**CONTENTS, "golden.npz": buffer.getvalue(), "x.pkl": pickle.dumps(_Bomb(fired))}
    bundle = write_bundle(a_bundle(tmp_path / "b"), contents)
    for name in bundle.files:
        assert Bundle.load(bundle.path).read(name) == contents[name]
    assert not fired.exists()
    pickle.loads(contents["x.pkl"])  # noqa: S301 -- the bomb is real
    assert fired.exists()


# Writing


def test_what_exists_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    before = (folder / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match=r"signs.bundle exists already: choose another"):
        write_bundle(a_bundle(folder, name="new"), {"model.onnx": b"new"})
    assert (folder / "bundle.json").read_bytes() == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BundleError, match=r"file exists already"):
        write_bundle(a_bundle(tmp_path / "file"), CONTENTS)


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write_bytes = Path.write_bytes

    def until_the_disk_is_full(self: Path, data: bytes) -> int:
        written.append(self.name)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", until_the_disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        write_bundle(a_bundle(tmp_path / "new" / "b"), CONTENTS)
    assert len(written) == 3
    assert list((tmp_path / "new").iterdir()) == []


def test_a_value_that_is_no_json_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_bundle(a_bundle(tmp_path / "b", metrics={"accuracy": tmp_path}), CONTENTS)
    assert list(tmp_path.iterdir()) == []


def test_a_written_bundle_is_readable_by_others(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o755
    shutil.copytree(folder, folder.with_name("copy"))
    assert Bundle.load(folder.with_name("copy")).digest == Bundle.load(folder).digest


@pytest.mark.parametrize("labels", [(), ("stop",), ("stop", "stop"), ("stop", "yield", "stop")])
def test_a_bundle_has_two_or_more_different_labels(tmp_path: Path, labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="two or more different labels"):
        a_bundle(tmp_path, labels=labels)
