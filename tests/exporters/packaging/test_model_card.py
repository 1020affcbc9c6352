from dataclasses import replace

import pytest
from trained_networks import Written

from leansight.exporters.packaging.model_card import model_card

# ai-edge-quantizer keeps every tensor of the graph that it reads, which LiteRT warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling .experimental_preserve_all")


@pytest.mark.slow
def test_the_model_card_says_what_the_images_cannot_tell(written: Written) -> None:
    bundle, reports = written
    report = reports["validation"]
    assert "\n\n- " not in model_card(bundle, replace(report, warnings=()))
    card = model_card(bundle, replace(report, warnings=("bars: too few", "disc: too few")))
    assert "\n\n- bars: too few.\n- disc: too few.\n\n" in card


@pytest.mark.slow
def test_the_model_card_says_what_was_verified(written: Written) -> None:
    bundle, reports = written
    card = bundle.read("README.md").decode()
    assert card.startswith("# shapes\n")
    assert "bars, cross, disc" in card
    assert "On 60 images" in card
    assert "32×32\ngray (stretch, no CLAHE)" in card
    assert "probability of 0.6" in card
    for report in reports["validation"].formats[1:]:
        size = (bundle.path / f"model.{report.name.split()[0]}").stat().st_size
        assert "float32" in report.name or report.size_bytes == size
        row = f"| {report.name} | {report.size_bytes / 1000:,.0f} KB | {report.accuracy:.2%} | "
        assert row in card
        assert f" | {report.accuracy_drop} | {report.coverage_drop} | " in card
    assert reports["validation"].tested in card
    assert f"decide alike on {reports['validation'].agreement:.2%} of the images" in card
