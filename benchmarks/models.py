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
    """A model to measure: one format of a bundle, or a bare file (which has no digest)."""

    name: str
    path: Path
    format: Format
    digest: str | None

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
    paths: Sequence[Path], wanted: Format | None = None, *, trust: Path | None = None
) -> list[Model]:
    """Return the models of bundles and bare files, in their order; `wanted` picks one format.

    A name is the path's last part, or the whole path where two would be called the same. `trust`
    is a policy, see `Bundle.load`; a bare file keeps to none.

    Raises:
        BundleError: a path is missing, damaged, no model, or has not the wanted format.

    """
    found = [model for path in paths for model in _models_at(path, wanted, trust)]
    ends = [path.name for path in dict.fromkeys(paths)]
    return [m if ends.count(m.name) == 1 else replace(m, name=str(m.path)) for m in found]


def _models_at(path: Path, wanted: Format | None, trust: Path | None) -> list[Model]:
    if not path.exists():
        raise BundleError(f"{path} does not exist")
    if is_bare_model(path):
        if wanted not in (None, model_format(path)):
            raise BundleError(f"{path} is not in the format {wanted}")
        if trust is not None:
            raise BundleError(f"{path} cannot be signed: {trust} loads only signed bundles")
        return [Model(name=path.name, path=path, format=model_format(path), digest=None)]
    bundle = Bundle.load(path, trust=trust)
    bundle.choose_format(wanted)  # raises if there is nothing to measure
    return [
        Model(name=path.name, path=path, format=held, digest=bundle.digest)
        for held in bundle.formats
        if wanted in (None, held)
    ]
