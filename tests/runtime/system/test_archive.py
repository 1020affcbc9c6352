"""Is a hostile bundle refused in one line, within a second and 64 MB?"""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from hostile.attacks import BUNDLES
from hostile.cost import cost_of

from leansight.exporters.packaging.golden import golden_file
from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.golden import check_golden
from leansight.runtime.preprocessing import Preprocessing
from leansight.runtime.system.archive import open_archive

MOST_SECONDS, MOST_MEGABYTES = 1.0, 64.0


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with golden photos, already read once: the libraries are loaded."""
    models = {"tflite": tiny_models.stripes_tflite(), "onnx": tiny_models.stripes_onnx()}
    draft = Bundle(
        path=tmp_path_factory.mktemp("good") / "good.bundle",
        name="good",
        labels=tiny_models.LABELS,
        preprocessing=Preprocessing(size=8, colour="gray"),
        decision=DecisionPolicy(),
        precision="float32",
    )
    photos = [tiny_models.stripes(label, 20) for label in tiny_models.LABELS]
    files = {f"model.{kind}": model for kind, model in models.items()}
    files["golden.npz"] = golden_file(draft, models, photos)  # type: ignore[arg-type]
    write_bundle(draft, files)
    assert check_golden(draft.path, model_format="tflite").holds
    return draft.path


@pytest.mark.parametrize("name", BUNDLES)
def test_a_hostile_bundle_is_refused_at_once(name: str, good: Path, tmp_path: Path) -> None:
    path = BUNDLES[name](Path(shutil.copytree(good, tmp_path / "hostile")))
    cost = cost_of(lambda: check_golden(path, model_format="tflite"))
    assert cost.error == "BundleError", cost.text
    assert len(cost.text.splitlines()) == 1
    assert len(cost.text) < 1000
    assert cost.seconds < MOST_SECONDS
    assert cost.megabytes < MOST_MEGABYTES


def test_an_archive_may_hold_pictures_and_weights(tmp_path: Path) -> None:
    """Weights of two bits each, which become 16 times smaller, and 15 MB of zeros."""
    weights = np.random.default_rng(0).integers(0, 4, 20 << 20, dtype=np.uint8) << 6
    for name, data in (("weights", weights.tobytes()), ("zeros", bytes(15 << 20))):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
        with (tmp_path / name).open("rb") as file:
            assert len(open_archive(file).read(name)) == len(data)
