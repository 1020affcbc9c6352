"""What is fuzzed: the readers of files that a stranger may have made, each a function of bytes.

A target refuses a file with one of its errors, or returns; what it accepts is used as commands use
it, and held against what it must be. All else that is raised is a finding.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import mutation
import numpy as np

if TYPE_CHECKING:
    from leansight.runtime.bundle import Bundle

HERE: Final = Path(__file__).parent
PIXELS: Final = 1 << 20  # of an image: more would take more than the limit of memory
_LARGEST_PREPARED: Final = 256  # pixels of a side: a manifest may ask for 4,096
_PHOTO: Final = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)


class AcceptedError(Exception):
    """What was changed was accepted, or what was accepted is not what it says."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader; `refusals` are the errors by which it refuses, `mutate` keeps a file's form."""

    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    mutate: mutation.Mutate | None = None


def bundle(scratch: Path) -> Target:
    """A zip: what is loaded is the bundle that it was made of, to the byte."""
    from leansight.runtime.bundle import Bundle
    from leansight.runtime.errors import BundleError

    good, path = good_bundle(scratch), scratch / "mutant.zip"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        require_same(Bundle.load(path), good)

    return Target(read=read, refusals=(BundleError,), mutate=mutation.zip_mutant)


def folder(scratch: Path) -> Target:
    """A folder, one of whose files is another: the first byte says which, the rest is in it."""
    from leansight.runtime.bundle import Bundle
    from leansight.runtime.errors import BundleError

    good = good_bundle(scratch)
    path = Path(shutil.copytree(good.path, scratch / "mutant.bundle"))
    names = sorted(file.name for file in path.iterdir())

    def read(data: bytes) -> None:
        name = names[data[0] % len(names)] if data else names[0]
        (path / name).write_bytes(data[1:])
        try:
            require_same(Bundle.load(path), good)
        finally:
            (path / name).write_bytes((good.path / name).read_bytes())

    return Target(read=read, refusals=(BundleError,))


def manifest(scratch: Path) -> Target:
    """A `bundle.json` whose digest is right, whatever it says."""
    from leansight.runtime.bundle import Bundle
    from leansight.runtime.decision import DecisionRule
    from leansight.runtime.errors import BundleError
    from leansight.runtime.stream.drift import DriftMonitor
    from leansight.runtime.stream.reference import Reference

    path = Path(shutil.copytree(good_bundle(scratch).path, scratch / "forged.bundle"))

    def read(data: bytes) -> None:
        (path / "bundle.json").write_bytes(forged(data))
        bundle = Bundle.load(path)
        with suppress(ValueError):  # the command says then that the reference is damaged
            DriftMonitor(Reference.from_dict(bundle.reference))
        rule = DecisionRule(bundle.labels, bundle.decision, bundle.task)
        logits = np.linspace(-9, 9, len(bundle.labels))
        json.dumps(rule(logits).to_dict(), allow_nan=False)
        if max(bundle.preprocessing.shape) <= _LARGEST_PREPARED:
            pixels = bundle.preprocessing(_PHOTO)
            require(pixels.shape == bundle.preprocessing.shape, "the shape of the pixels")
        again = Bundle.load(path)
        require(repr(again) == repr(bundle), "another bundle, read again")
        for text in (bundle.name, bundle.digest, bundle.precision_text, *bundle.labels):
            require(isinstance(text, str), f"a text that is {text!r}")

    return Target(read=read, refusals=(BundleError,), mutate=mutation.json_mutant)


def golden(scratch: Path) -> Target:
    """A `golden.npz`."""
    from leansight.runtime.golden import DAMAGED, read_arrays

    del scratch

    def read(data: bytes) -> None:
        for name, array in read_arrays(data).items():
            require(array.dtype != object, f"objects in {name}")

    return Target(read=read, refusals=DAMAGED, mutate=mutation.zip_mutant)


def recipe(scratch: Path) -> Target:
    """A recipe: what is read is read again from what it says of itself."""
    from leansight.runtime.errors import DataError
    from leansight.sdk.recipes.load import load_recipe
    from leansight.sdk.recipes.schema import Recipe

    path = scratch / "mutant.toml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        recipe = load_recipe(str(path))
        again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict(), allow_nan=False)))
        require(again == recipe, "another recipe, read again")

    return Target(read=read, refusals=(DataError,), mutate=mutation.toml_mutant)


def image(scratch: Path) -> Target:
    """An image file, of so many pixels at most that its memory is bounded."""
    from leansight.runtime.errors import DataError
    from leansight.runtime.images import decode_image

    del scratch
    with suppress(DataError):  # OpenCV takes memory of its own the first time
        decode_image(np.frombuffer(b"\xff\xd8\xff", np.uint8))

    def read(data: bytes) -> None:
        pixels = decode_image(np.frombuffer(data, np.uint8))
        good = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8
        require(good and 0 < pixels.size <= 3 * PIXELS, f"pixels {pixels.shape} {pixels.dtype}")

    return Target(read=read, refusals=(DataError,), mutate=mutation.image_mutant)


def tflite(scratch: Path) -> Target:
    """The structural check of a TFLite file."""
    from leansight.runtime.model_files.tflite_structure import check_tflite

    del scratch
    return Target(read=check_tflite, refusals=(ValueError,))


def onnx(scratch: Path) -> Target:
    """The structural check of an ONNX file."""
    from leansight.runtime.model_files.onnx_structure import check_onnx

    del scratch
    return Target(read=check_onnx, refusals=(ValueError,))


def trust(scratch: Path) -> Target:
    """A `trust.toml`."""
    from leansight.runtime.trust.policy import trusted_keys

    path = scratch / "trust.toml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        keys = trusted_keys(path)
        require(bool(keys), "a policy without keys")

    return Target(read=read, refusals=(ValueError,), mutate=mutation.toml_mutant)


def signature(scratch: Path) -> Target:
    """A `model.sig`: by which only the file that was signed is accepted."""
    from leansight.runtime.trust.signature import check

    del scratch
    good = seeds("signature")
    key = good["signer.pem"]
    statement = base64.b64decode(json.loads(good["good"])["dsseEnvelope"]["payload"])

    def read(data: bytes) -> None:
        check(data, {"bundle.json": "00" * 32, "model.onnx": "11" * 32}, [key])
        signed = base64.b64decode(json.loads(data)["dsseEnvelope"]["payload"])
        require(signed == statement, "another statement than was signed")

    return Target(read=read, refusals=(ValueError,), mutate=mutation.signature_mutant)


TARGETS: Final[Mapping[str, Callable[[Path], Target]]] = {
    make.__name__: make
    for make in (
        *(bundle, folder, manifest, golden, recipe, image, tflite, onnx, trust, signature),
    )
}


def prepare() -> None:
    """Set what OpenCV reads when it is imported."""
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(PIXELS)


def seeds(name: str) -> dict[str, bytes]:
    """Return the committed corpus of a target, by name."""
    with zipfile.ZipFile(HERE / "corpus" / f"{name}.zip") as archive:
        return {file: archive.read(file) for file in archive.namelist()}


def attacks(name: str) -> list[Path]:
    """Return the files that once were findings of a target."""
    return sorted((HERE / "attacks" / name).glob("*"))


def good_bundle(scratch: Path) -> "Bundle":
    """Unpack the bundle of the corpus."""
    from leansight.runtime.bundle import Bundle

    with zipfile.ZipFile(io.BytesIO(seeds("bundle")["good"])) as archive:
        archive.extractall(scratch / "good.bundle")
    return Bundle.load(scratch / "good.bundle")


def forged(data: bytes) -> bytes:
    """Return a manifest with the digest that it should have; what is no manifest, as it is."""
    try:
        values: Any = json.loads(data)
        values.pop("digest", None)
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        values["digest"] = hashlib.sha256(text.encode()).hexdigest()
        return json.dumps(values).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return data


def require_same(loaded: "Bundle", good: "Bundle") -> None:
    """Raise AcceptedError if a bundle is another one than the good one."""
    for field in fields(good):
        if field.name != "path":
            same = getattr(loaded, field.name) == getattr(good, field.name)
            require(same, f"another {field.name}")
    for name in good.files:
        require(loaded.read(name) == good.read(name), f"another {name}")


def require(holds: bool, what: str) -> None:  # noqa: FBT001 -- as an assert
    """Raise AcceptedError unless it holds."""
    if not holds:
        raise AcceptedError(what)
