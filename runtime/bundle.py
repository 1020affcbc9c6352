"""A classifier as files: what is shipped to the Pi, read without trusting it.

A bundle is a folder, or a zip of it, that holds `bundle.json` and the files named there with
their SHA-256 and size. Nothing in it is executable and nothing is unpickled.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, Literal, get_args

from leansight.runtime.decision import DecisionPolicy, Task
from leansight.runtime.errors import BundleError
from leansight.runtime.extras import require
from leansight.runtime.interpreter import FORMATS, Format, has_interpreter
from leansight.runtime.preprocessing import Preprocessing
from leansight.runtime.system.archive import DAMAGED_ZIP, open_archive
from leansight.runtime.system.regular_files import open_regular, read_regular
from leansight.runtime.system.whole_files import whole_folder
from leansight.runtime.trust.policy import MOST_BYTES, POLICY, SIGNATURE, trusted_keys

FORMAT_VERSION: Final = 1
MANIFEST: Final = "bundle.json"
Precision = Literal["int8", "float32"]
_MANIFEST_BYTES: Final = 1 << 20  # at most: 15 KB is usual
_MOST_BYTES: Final = 1 << 30  # of a file: what is larger is no size
_LONGEST_REASON: Final = 500  # characters of a forged manifest that a message repeats


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """What `bundle.json` says of a file: its SHA-256 in hexadecimal, and its size."""

    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        if type(self.size_bytes) is not int or not 0 <= self.size_bytes <= _MOST_BYTES:
            raise ValueError(f"size_bytes must be a whole number, not {self.size_bytes!r}")

    @classmethod
    def of(cls, data: bytes) -> "FileRecord":
        """Describe these bytes."""
        return cls(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle's contents, every file of it checked against its record.

    `labels` are in the order of the logits, `task` says whether an image has one of them or any
    number; `provenance` and `metrics` are plain JSON values
    that say where the model comes from and what it scored; `guarantee` says what its threshold is
    certified for, if it is; `reference` describes the validation images, by which drift is told;
    `digest` is the SHA-256 of the manifest and stands for the whole bundle; `float_layers` names
    the layers of an int8 network that compute in float.
    """

    path: Path
    name: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    decision: DecisionPolicy
    precision: Precision
    float_layers: tuple[str, ...] = ()
    task: Task = "classification"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    guarantee: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        if len(self.labels) <= 1 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"a bundle has two or more different labels, not {self.labels}")
        if not all(isinstance(text, str) for text in (self.name, *self.labels)):
            raise ValueError(f"a name and labels are text, not {self.name!r} and {self.labels}")
        for table in ("provenance", "metrics", "guarantee", "reference", "files"):
            if not isinstance(getattr(self, table), Mapping):
                raise ValueError(f"{table} is a table, not {getattr(self, table)!r}")
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision must be int8 or float32, not {self.precision!r}")
        named = all(isinstance(layer, str) for layer in self.float_layers)
        if not named or (self.float_layers and self.precision != "int8"):
            raise ValueError(
                f"float_layers are names of layers of an int8 network, not {self.float_layers}"
            )
        if self.task not in get_args(Task):
            tasks = " or ".join(get_args(Task))
            raise ValueError(f"task must be {tasks}, not {self.task!r}")
        self.decision.thresholds_of(self.labels)

    @classmethod
    def load(cls, path: Path | str, *, trust: Path | None = None) -> "Bundle":
        """Read a bundle and check every file it names.

        Args:
            path: the folder, or a zip of it.
            trust: a policy beside this machine's: a TOML file whose `keys` are files of public
                keys. The bundle must be signed by one of them.

        Raises:
            BundleError: it is missing, of another format version, or a file is missing,
                truncated or changed; it is not signed as a policy asks.

        """
        path = Path(path)
        manifest = _read_manifest(path)
        try:
            bundle = cls(
                path=path,
                name=manifest["name"],
                labels=_tuple(manifest["labels"]),
                preprocessing=Preprocessing.from_dict(manifest["preprocessing"]),
                decision=DecisionPolicy.from_dict(manifest["decision"]),
                precision=manifest["precision"],
                float_layers=_tuple(manifest.get("float_layers", [])),
                task=manifest["task"],
                provenance=manifest["provenance"],
                metrics=manifest["metrics"],
                guarantee=manifest.get("guarantee", {}),
                reference=manifest.get("reference", {}),
                files={n: FileRecord(**record) for n, record in manifest["files"].items()},
                digest=manifest["digest"],
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = repr(error)[:_LONGEST_REASON]
            raise BundleError(f"{path / MANIFEST} does not describe a bundle: {reason}") from error
        for name in bundle.files:
            bundle.read(name)
        bundle.require_trust()
        if trust is not None:
            bundle.require_trust(policy=trust)
        return bundle

    def require_trust(
        self, keys: Sequence[Path] | None = None, *, policy: Path | None = None
    ) -> str:
        """Return by which key the bundle is signed: the SHA-256 of its PEM.

        Args:
            keys: files of public keys; by default those of the policy.
            policy: a TOML file that names them; by default this machine's
                (`/etc/leansight/trust.toml`). Where there is none, nothing is asked, and "" is
                returned.

        Raises:
            BundleError: it is not signed by one of the keys, or not as it was signed.
            MissingExtraError: cryptography is not installed.

        """
        try:
            chosen = trusted_keys(policy) if keys is None else keys
            pems = None if chosen is None else [read_regular(key, MOST_BYTES) for key in chosen]
        except (ValueError, OSError) as error:
            raise BundleError(
                f"{policy or POLICY} or a key that it names cannot be read: {error}"
            ) from error
        if pems is None:
            return ""
        require("cryptography", package="cryptography", extra="sign")
        from leansight.runtime.trust.signature import check

        signature = self.signature()
        if signature is None:
            whose = "this machine" if policy is None else policy
            raise BundleError(f"{self.path} is not signed: {whose} loads only signed bundles")
        try:
            return check(signature, self.digests(), pems)
        except ValueError as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(f"{self.path} is not trusted: {error}") from error

    def signature(self) -> bytes | None:
        """Return the file `model.sig` of the bundle, None if it is not signed."""
        try:
            return _read_member(self.path, SIGNATURE, MOST_BYTES)
        except BundleError as error:
            if isinstance(error.__cause__, FileNotFoundError | KeyError):
                return None
            raise

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file that a signature covers: all but the signature."""
        recorded = {name: record.sha256 for name, record in self.files.items()}
        recorded[MANIFEST] = FileRecord.of(self.manifest()).sha256
        others = dict.fromkeys(_member_names(self.path), "") | recorded
        others.pop(SIGNATURE, None)
        return others

    @property
    def precision_text(self) -> str:
        """What the networks compute in: "int8", "float32" or "int8, 3 layers float32"."""
        return describe_precision(self.precision, len(self.float_layers))

    @property
    def formats(self) -> tuple[Format, ...]:
        """The model formats that the bundle holds: "tflite", "onnx" or both."""
        return tuple(known for known in FORMATS if f"model.{known}" in self.files)

    def choose_format(self, wanted: Format | None = None) -> Format:
        """Return `wanted`; BundleError if it is not held.

        By default it is the first format held for which an interpreter is installed here.
        """
        if wanted is None and self.formats:
            return next(filter(has_interpreter, self.formats), self.formats[0])
        if wanted not in self.formats:
            held = " and ".join(self.formats) or "no model"
            raise BundleError(f"{self.path} has no {wanted or 'model'}: it holds {held}")
        return wanted

    def manifest(self) -> bytes:
        """Return the bytes of `bundle.json`; BundleError if it is another bundle's by now."""
        if _read_manifest(self.path)["digest"] != self.digest:
            raise BundleError(f"{self.path} has been replaced since it was loaded")
        return _read_member(self.path, MANIFEST, _MANIFEST_BYTES)

    def contents(self) -> dict[str, bytes]:
        """Return all that a copy needs: the files, the manifest, and the signature if any.

        Raises:
            BundleError: a file is not as it was when the bundle was loaded.

        """
        found = {MANIFEST: self.manifest(), **{name: self.read(name) for name in self.files}}
        signature = self.signature()
        return found if signature is None else found | {SIGNATURE: signature}

    def read(self, name: str) -> bytes:
        """Return a file's bytes; BundleError if they are not those that `bundle.json` records."""
        record = self.files[name]
        data = _read_member(self.path, name, record.size_bytes)
        if len(data) != record.size_bytes:
            raise BundleError(
                f"{self.path / name} is damaged: {len(data)} bytes instead of "
                f"{record.size_bytes}. Copy the bundle again"
            )
        if FileRecord.of(data) != record:
            raise BundleError(
                f"{self.path / name} was changed after it was made (its SHA-256 differs). "
                "Copy the bundle again"
            )
        return data


def describe_precision(precision: Precision, float_layers: int) -> str:
    """Return what a network is called of which so many layers compute in float."""
    layers = "1 layer" if float_layers == 1 else f"{float_layers} layers"
    return precision if float_layers == 0 else f"{precision}, {layers} float32"


def write_bundle(bundle: Bundle, contents: Mapping[str, bytes]) -> Bundle:
    """Write a bundle folder at `bundle.path`, whole or not at all; return it as loaded.

    Raises:
        BundleError: something is there already.

    """
    out = bundle.path
    refuse_existing(out)
    manifest: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "task": bundle.task,
        "name": bundle.name,
        "labels": list(bundle.labels),
        "preprocessing": bundle.preprocessing.to_dict(),
        "decision": bundle.decision.to_dict(),
        "precision": bundle.precision,
        "float_layers": list(bundle.float_layers),
        "provenance": dict(bundle.provenance),
        "metrics": dict(bundle.metrics),
        "guarantee": dict(bundle.guarantee),
        "reference": dict(bundle.reference),
        "files": {name: vars(FileRecord.of(data)) for name, data in contents.items()},
    }
    manifest["digest"] = _digest(manifest)
    with whole_folder(out) as part:
        for name, data in contents.items():
            (part / name).write_bytes(data)
        (part / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return Bundle.load(out)


def refuse_existing(out: Path) -> None:
    """Raise BundleError if there is something at `out`."""
    if out.exists():
        raise BundleError(
            f"{out} exists already: choose another path, or remove it", parameter="out"
        )


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise BundleError(f"{path} does not exist")
    try:
        manifest = json.loads(_read_member(path, MANIFEST, limit=_MANIFEST_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path / MANIFEST} is damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        version = manifest.get("format_version") if isinstance(manifest, dict) else None
        raise BundleError(
            f"{path / MANIFEST} has format version {version}; this leansight reads {FORMAT_VERSION}"
        )
    if manifest.get("digest") != _digest(manifest):
        raise BundleError(
            f"{path / MANIFEST} was changed after it was made (its digest differs). "
            "Copy the bundle again"
        )
    return manifest


def _tuple(values: object) -> tuple[str, ...]:
    """Return a list as a tuple; ValueError if it is another thing that can be iterated."""
    if not isinstance(values, list):
        raise ValueError(f"expected a list, not {values!r}")
    return tuple(values)


def _digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the manifest without its digest, in one canonical form."""
    rest = {name: value for name, value in manifest.items() if name != "digest"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read_member(path: Path, name: str, limit: int) -> bytes:
    """Read one file of a bundle folder or zip; BundleError if it has more than `limit` bytes."""
    # Neither this system's nor Windows' way to name another folder or drive.
    plain = {PurePosixPath(name).name, PureWindowsPath(name).name} == {name}
    if not plain or name in {"", ".."} or "\0" in name:
        raise BundleError(f"{path} names a file outside itself: {name!r}")
    try:
        if not path.is_dir():
            return _read_zipped(path, name, limit)
        return read_regular(path / name, limit)
    except (FileNotFoundError, KeyError) as error:
        hint = "is not a bundle" if name == MANIFEST else "is incomplete: copy it again"
        raise BundleError(f"{path} has no {name}: it {hint}") from error
    except OSError as error:
        what = f"{path / name}"[:_LONGEST_REASON]
        raise BundleError(f"{what} cannot be opened: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, BundleError):
            raise
        what = f"{path / name}"[:_LONGEST_REASON]
        raise BundleError(f"{what} is damaged: {error}. Copy the bundle again") from error


def _member_names(path: Path) -> list[str]:
    """Return the names of all files of a bundle, also of those that it does not mention."""
    if path.is_dir():
        files = (file for file in path.rglob("*") if not file.is_dir() or file.is_symlink())
        return [str(file.relative_to(path)) for file in files]
    with open_regular(path) as file, open_archive(file) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    folder = min((n for n in names if PurePosixPath(n).name == MANIFEST), key=len)
    return [name.removeprefix(folder.removesuffix(MANIFEST)) for name in names]


def _read_zipped(path: Path, name: str, limit: int) -> bytes:
    """Read one file of a zip of a bundle; it may be in a folder there."""
    try:
        with open_regular(path) as file, open_archive(file) as archive:
            inside = [n for n in archive.namelist() if n == name or n.endswith(f"/{name}")]
            member = archive.getinfo(min(inside, key=len, default=name))
            if member.file_size <= limit:
                return archive.read(member)
    except KeyError:
        raise
    except DAMAGED_ZIP as error:
        raise BundleError(
            f"{path} is neither a bundle folder nor a sound zip of one: "
            f"{str(error) or 'it ends too early'}. Copy the bundle again"
        ) from error
    raise ValueError(f"it has {member.file_size:,} bytes: at most {limit:,} are read")
