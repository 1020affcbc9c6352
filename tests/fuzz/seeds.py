"""Write the corpus that fuzzing begins with: a zip a target, of small files that are whole.

python tests/fuzz/seeds.py
"""

import io
import json
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).parent))

import cv2
import numpy as np
import targets
import tiny_models
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from onnx import helper, numpy_helper
from PIL import Image

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.preprocessing import Clahe, Preprocessing
from leansight.runtime.trust.signature import sign
from leansight.sdk.recipes.load import recipe_names, recipe_text

SIGNED = {"bundle.json": "00" * 32, "model.onnx": "11" * 32}
DATE = (2026, 1, 1, 0, 0, 0)  # the same files give the same zip


def main() -> None:
    """Write all of them."""
    with tempfile.TemporaryDirectory() as name:
        made = corpora(Path(name))
    for target, files in made.items():
        (targets.HERE / "corpus" / f"{target}.zip").write_bytes(zipped(files))
        print(f"{target}: {len(files)} files, {sum(map(len, files.values())):,} bytes")


def corpora(folder: Path) -> dict[str, dict[str, bytes]]:
    """Return the files of each target, by name."""
    bundle = tiny_bundle(folder)
    files = {file.name: file.read_bytes() for file in sorted(bundle.iterdir())}
    one_of = [bytes([number]) + files[name] for number, name in enumerate(sorted(files))]
    return {
        "bundle": {"good": zipped(files), "stored": zipped(files, zipfile.ZIP_STORED)},
        "folder": dict(zip(sorted(files), one_of, strict=True)),
        "manifest": dict(manifests(files["bundle.json"])),
        "golden": {"good": files["golden.npz"]},
        "recipe": {f"{name}.toml": recipe_text(name).encode() for name in recipe_names()},
        "image": dict(images()),
        "tflite": {"stripes": tiny_models.stripes_tflite()},
        "onnx": {"stripes": tiny_models.stripes_onnx(), "int8": int8_onnx()},
        "trust": {"one": b'keys = ["mine.pem"]\n', "two": b'keys = [\n  "a.pem", # a\n  "b/c"]\n'},
        "signature": signatures(),
    }


def tiny_bundle(folder: Path) -> Path:
    """Write the network of the tests with golden photos."""
    tiny = Bundle(
        path=folder / "tiny.bundle",
        name="tiny",
        labels=tiny_models.LABELS,
        preprocessing=Preprocessing(size=8, colour="gray", clahe=Clahe()),
        decision=DecisionPolicy(threshold=0.5, label_thresholds={"plain": 0.7}),
        precision="float32",
        metrics={"accuracy": 1.0},
    )
    tflite, onnx = tiny_models.stripes_tflite(), tiny_models.stripes_onnx()
    return tiny_models.golden_bundle(
        write_bundle(tiny, {"model.tflite": tflite, "model.onnx": onnx}).path
    )


def manifests(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield manifests of the same files with other settings."""
    yield "good", good
    values = json.loads(good)
    values |= {"task": "multilabel", "precision": "int8", "float_layers": ["conv_1", "conv_2"]}
    values["preprocessing"] |= {"colour": "rgb", "fit": "letterbox", "version": 1}
    values["guarantee"] = {"error": 0.01, "confidence": 0.95}
    values["reference"] = {
        "groups": 50,
        "not_sure": 0.1,
        "given": {"plain": 0.5, "upright": 0.5},
        "brightness": [20, 200],
        "contrast": None,
    }
    yield "multilabel", json.dumps(values).encode()


def int8_onnx() -> bytes:
    """Return a graph with quantized values, a constant operator, and shapes that are given."""
    shape = np.array([1, 64])
    nodes = [
        helper.make_node("QuantizeLinear", ["pixels", "scale", "zero"], ["quantized"]),
        helper.make_node("DequantizeLinear", ["quantized", "scale", "zero"], ["values"]),
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(shape)),
        helper.make_node("Reshape", ["values", "shape"], ["flat"]),
        helper.make_node("Slice", ["flat", "start", "end"], ["logits"]),
    ]
    constants = {
        "scale": np.array(0.5, np.float32),
        "zero": np.array(3, np.uint8),
        "start": np.array([0, 0]),
        "end": np.array([1, 3]),
    }
    return tiny_models.onnx_model(nodes, constants, (1, 1, 8, 8), (1, 3))


def images() -> Iterator[tuple[str, bytes]]:
    """Yield a small picture in every format and kind of pixels that is read."""
    rgba = np.random.default_rng(1).integers(0, 256, (9, 12, 4), dtype=np.uint8)
    picture = Image.fromarray(rgba, "RGBA")
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode, kind in (
        *(("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGB", "PNG"), ("RGBA", "PNG")),
        *(("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF"), ("RGB", "BMP")),
        *(("1", "TIFF"), ("L", "TIFF"), ("RGB", "TIFF"), ("RGBA", "TIFF"), ("RGBA", "WEBP")),
        *(("1", "PPM"), ("L", "PPM"), ("RGB", "PPM")),
    ):
        yield f"{kind}-{mode}", saved(picture.convert(mode), kind)
    rgb = picture.convert("RGB")
    yield "JPEG-turned", saved(rgb, "JPEG", exif=exif)
    yield "JPEG-progressive", saved(rgb, "JPEG", progressive=True, subsampling=2)
    yield "PNG-turned", saved(rgb, "PNG", exif=exif)
    yield "PNG-transparent", saved(picture.convert("L"), "PNG", transparency=9)
    yield "WEBP-lossless", saved(picture, "WEBP", lossless=True, exif=exif)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"TIFF-{compression}", saved(rgb, "TIFF", compression=compression)
    for suffix in (".png", ".tiff"):
        deep = cv2.imencode(suffix, rgba.astype(np.uint16) * 200)[1]
        yield f"16-bits{suffix}", deep.tobytes()
    yield "HEIC", struct.pack(">I", 28) + b"ftypheic\0\0\0\0mif1heic" + bytes(64)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def signatures() -> dict[str, bytes]:
    """Return a signature, and by which key it was made."""
    key = ec.derive_private_key(20_260_101, ec.SECP256R1())  # the same each time, no secret
    pem, kinds = serialization.Encoding.PEM, serialization
    private = key.private_bytes(pem, kinds.PrivateFormat.PKCS8, kinds.NoEncryption())
    public = key.public_key().public_bytes(pem, kinds.PublicFormat.SubjectPublicKeyInfo)
    return {"good": sign("tiny", SIGNED, private), "signer.pem": public}


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), content, method)
    return out.getvalue()


if __name__ == "__main__":
    main()
