from pathlib import Path

import pytest

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError
from leansight.runtime.service.last_good import copy_bundle
from leansight.sdk.commands.options.model import ModelOptions, open_classifier


def test_nothing_stands_in_for_a_version_on_trial(tiny_bundle: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.zip"
    copy_bundle(Bundle.load(tiny_bundle), good)
    (tiny_bundle / "model.tflite").write_bytes(b"worn out")
    options = ModelOptions(model_format=None, threads=1, threshold=None, last_good=good, trust=None)
    with open_classifier(tiny_bundle, options) as classifier:
        assert classifier.bundle.path == good
    with pytest.raises(BundleError, match="is damaged"):
        open_classifier(tiny_bundle, options, on_trial=True)
