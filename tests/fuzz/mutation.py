"""Changes of files that keep their form: a JSON text stays one, the sums of a PNG stay right."""

import base64
import io
import json
import random
import struct
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

Mutate = Callable[[bytes, random.Random, "Change"], bytes]
Change = Callable[[bytes], bytes]  # of any bytes
HOSTILE: Final = (
    *(None, True, False, 0, 1, -1, 2, 255, 256, 4096, 65_536, 2**31, 2**32, 2**63, 10**25),
    *(0.0, -0.0, 0.5, 1.0, 1e-320, 1e-9, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", "\0", "a\nb", "\x1b]0;title\x07", "\u202e", "\ud800", "../x", "/etc/passwd", "x" * 3000),
    *("int8", "gray", "multilabel", "letterbox", "clahe", "model.onnx", "bundle.json"),
    *([], {}, [[]], [None], {"": ""}, [[[[]]]], ["a", "a"], {"a": {"a": {"a": 1}}}),
)
_MOST_COPIES: Final = 2000


def json_mutant(data: bytes, chance: random.Random, change: Change) -> bytes:
    """Change one value, or one key, of a JSON text."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return change(data)
    return json.dumps(changed(tree, chance, change)).encode()


def toml_mutant(data: bytes, chance: random.Random, change: Change) -> bytes:
    """Change one value, or one key, of a TOML text."""
    try:
        tree = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        return change(data)
    tree = changed(tree, chance, change)
    return _toml(tree).encode(errors="replace") if isinstance(tree, dict) else change(data)


def zip_mutant(data: bytes, chance: random.Random, change: Change) -> bytes:
    """Change a file in an archive, its name, or which ones there are; the sums stay right."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [(name, archive.read(name)) for name in archive.namelist()]
    except Exception:  # noqa: BLE001 -- zipfile raises whatever a mutant leads to
        return change(data)
    if not files:
        return change(data)
    at = chance.randrange(len(files))
    name, content = files[at]
    match chance.randrange(5):
        case 0:
            del files[at]
        case 1:
            files.insert(chance.randrange(len(files) + 1), (name, change(content)))
        case 2:
            files[at] = (str(chance.choice(("..", "/", "a/", "x", "\0"))) + name, content)
        case 3 if name.endswith(".json"):
            files[at] = (name, json_mutant(content, chance, change))
        case _:
            files[at] = (name, change(content))
    out = io.BytesIO()
    method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


def image_mutant(data: bytes, chance: random.Random, change: Change) -> bytes:
    """Change a chunk of a PNG, whose sums become right again; of other images some bytes."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return change(data)
    chunks = list(_png_chunks(data))
    if not chunks:
        return change(data)
    at = chance.randrange(len(chunks))
    name, content = chunks[at]
    if name == b"IDAT" and chance.random() < 0.5:
        content = zlib.compress(change(content))
    else:
        content = change(content)
    chunks[at] = name, content
    if chance.random() < 0.2:
        chunks.insert(chance.randrange(len(chunks)), chance.choice(chunks))
    return data[:8] + b"".join(_png_chunk(*chunk) for chunk in chunks)


def signature_mutant(data: bytes, chance: random.Random, change: Change) -> bytes:
    """Change a signature, or what is signed."""
    try:
        tree = json.loads(data)
        payload = base64.b64decode(tree["dsseEnvelope"]["payload"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return change(data)
    if chance.random() < 0.5:
        return json.dumps(changed(tree, chance, change)).encode()
    payload = json_mutant(payload, chance, change)
    tree["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    return json.dumps(tree).encode()


def changed(tree: Any, chance: random.Random, change: Change) -> Any:  # noqa: ANN401 -- any JSON
    """Return a tree of JSON values with another value, key or length at one place."""
    places = list(_places(tree))
    if not places:
        return chance.choice(HOSTILE)
    parent, key = chance.choice(places)
    value = parent[key]
    match chance.randrange(6):
        case 0 if isinstance(parent, dict):
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[_text(chance, change, str(key))] = value
        case 2 if isinstance(value, list) and value:
            parent[key] = value * chance.choice((2, 100, _MOST_COPIES // len(value) + 1))
        case 3 if isinstance(value, str):
            parent[key] = _text(chance, change, value)
        case 4 if isinstance(value, int | float):
            parent[key] = value * chance.choice((-1, 2, 1e-3, 1e6)) + chance.choice((0, 1, -1))
        case 5:
            parent[key] = chance.choice(places)[0]
            if _is_in_itself(tree):
                parent[key] = value
        case _:
            parent[key] = chance.choice(HOSTILE)
    return tree


def _places(tree: object) -> Iterator[tuple[Any, Any]]:
    """Yield where each value is: its parent, and its key or number there."""
    below: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(tree, dict):
        below = iter(tree.items())
    elif isinstance(tree, list):
        below = iter(enumerate(tree))
    for key, value in list(below):
        yield tree, key
        yield from _places(value)


def _is_in_itself(tree: object) -> bool:
    try:
        return len(json.dumps(tree)) > 1 << 18
    except (ValueError, RecursionError):
        return True


def _text(chance: random.Random, change: Change, text: str) -> str:
    if chance.random() < 0.5:
        return str(chance.choice([value for value in HOSTILE if isinstance(value, str)]))
    return change(text.encode(errors="replace")).decode(errors="replace")


def _toml(tree: dict[str, Any]) -> str:
    return "\n".join(f"{json.dumps(key)} = {_toml_value(value)}" for key, value in tree.items())


def _toml_value(value: object) -> str:
    match value:
        case dict():
            inside = (f"{json.dumps(key)} = {_toml_value(each)}" for key, each in value.items())
            return "{" + ", ".join(inside) + "}"
        case list():
            return "[" + ", ".join(map(_toml_value, value)) + "]"
        case float():
            return repr(value)
        case None:
            return '""'
        case _:
            return json.dumps(value, default=str)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def _png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum
