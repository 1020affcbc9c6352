"""Which models a path names: the files of a bundle, or a bare one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from leansight.benchmarks.worker import is_bare_model
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError
from leansight.runtime.interpreter import Format, model_format
from leansight.runtime.onnx_file import read_onnx_file, weight_files


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model to measure: one format of a bundle, or a bare file (which has no digest).

    `labels`: those that a user has given of a bare file, none if they are not known. `peer` is
    the runtime that it is to run in, "" for our own.
    """

    name: str
    path: Path
    format: Format
    digest: str | None
    labels: tuple[str, ...] = ()
    peer: str = ""

    def renamed(self, name: str) -> "Model":
        """Return the model under another name."""
        return replace(self, name=name)

    def in_peer(self, peer: str) -> "Model":
        """Return the same file, to run in another runtime."""
        return replace(self, name=f"{self.name} in {peer}", peer=peer)

    def read(self) -> bytes:
        """Return the model's bytes."""
        if self.digest is None:
            return self.path.read_bytes()
        return Bundle.load(self.path).read(f"model.{self.format}")

    def in_one_file(self, folder: Path) -> "Model":
        """Return the model with its weights in the file itself.

        Of a bare ONNX model that keeps them in a file beside it, that is one of the same name in
        the new `folder`.
        """
        if self.digest is not None or self.format != "onnx" or not weight_files(self.path):
            return self
        folder.mkdir()
        copy = folder / self.path.name
        copy.write_bytes(read_onnx_file(self.path).SerializeToString())
        return replace(self, path=copy)


def find_models(
    paths: Sequence[Path],
    wanted: Format | None = None,
    labels: tuple[str, ...] = (),
    *,
    trust: Path | None = None,
) -> list[Model]:
    """Return the models of bundles and bare files, in their order; `wanted` picks one format.

    `labels` are those of the bare files; a bundle has its own. `trust` is a policy, see
    `Bundle.load`; a bare file keeps to none.

    A name is the path's last part, or the whole path where two would be called the same.

    Raises:
        BundleError: a path is missing, damaged, no model, or has not the wanted format, or there
            are labels and no bare file.

    """
    found = [model for path in paths for model in _models_at(path, wanted, labels, trust)]
    if labels and all(model.digest is not None for model in found):
        raise BundleError("labels are those of bare files: a bundle has its own. Leave them out")
    ends = [path.name for path in dict.fromkeys(paths)]
    return [m if ends.count(m.name) == 1 else replace(m, name=str(m.path)) for m in found]


def _models_at(
    path: Path, wanted: Format | None, labels: tuple[str, ...], trust: Path | None
) -> list[Model]:
    if not path.exists():
        raise BundleError(f"{path} does not exist")
    if is_bare_model(path):
        if wanted not in (None, model_format(path)):
            raise BundleError(f"{path} is not in the format {wanted}")
        if trust is not None:
            raise BundleError(f"{path} cannot be signed: {trust} loads only signed bundles")
        kind = model_format(path)
        return [Model(name=path.name, path=path, format=kind, digest=None, labels=labels)]
    bundle = Bundle.load(path, trust=trust)
    bundle.choose_format(wanted)  # raises if there is nothing to measure
    return [
        Model(name=path.name, path=path, format=held, digest=bundle.digest)
        for held in bundle.formats
        if wanted in (None, held)
    ]
