"""Two networks, each converted once for all tests that look into its files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trained_networks import (
    Converted,
    Mixed,
    convert_and_quantize,
    draft,
    ignore,
    images,
    prepared,
    teach,
)

from leansight.exporters import export as export_module
from leansight.exporters.export import export_network
from leansight.exporters.options import ExportOptions, Promise
from leansight.exporters.verification.report import ExportReport
from leansight.runtime.bundle import Bundle
from leansight.runtime.preprocessing import Preprocessing
from leansight.sdk.models.networks import ResNetCustom


@pytest.fixture(scope="session")
def plain() -> Converted:
    """leansight's own small network: gray, residual."""
    torch.manual_seed(0)
    preprocessing = Preprocessing(size=32, colour="gray")
    network = ResNetCustom(classes=3, channels=1, width=8, blocks=(1, 1, 1))
    teach(network, prepared(preprocessing, 300, seed=0))
    return convert_and_quantize(network, preprocessing)


@pytest.fixture(scope="session")
def mixed() -> Converted:
    torch.manual_seed(0)
    network = Mixed()
    preprocessing = Preprocessing(size=32)
    teach(network, prepared(preprocessing, 300, seed=0))
    return convert_and_quantize(network, preprocessing)


@pytest.fixture(scope="session", params=["plain", "mixed"])
def converted(request: pytest.FixtureRequest) -> Converted:
    value = request.getfixturevalue(request.param)
    assert isinstance(value, Converted)
    return value


@pytest.fixture
def no_conversion(plain: Converted, monkeypatch: pytest.MonkeyPatch) -> Converted:
    """Exports of `plain` that do not wait for the conversion again."""
    monkeypatch.setattr(export_module, "convert", lambda *_: plain.floats)
    return plain


@pytest.fixture
def written(no_conversion: Converted, tmp_path: Path) -> tuple[Bundle, dict[str, ExportReport]]:
    test = prepared(no_conversion.preprocessing, 30, seed=6)
    reports = export_network(
        no_conversion.network,
        draft(tmp_path / "new" / "shapes.bundle"),
        replace(images(no_conversion), test=test),
        ExportOptions(promise=Promise(max_drop=2)),
        progress=ignore,
    )
    return Bundle.load(tmp_path / "new" / "shapes.bundle"), reports
