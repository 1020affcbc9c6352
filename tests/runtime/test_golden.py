"""Does a bundle give here what it gave where it was made, and is it noticed if not?"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
from tiny_models import golden_bundle

from leansight.runtime.bundle import Bundle, write_bundle
from leansight.runtime.errors import BundleError
from leansight.runtime.golden import check_golden
from leansight.runtime.interpreter import FORMATS, Format


@pytest.mark.parametrize("model_format", FORMATS)
def test_a_bundle_gives_where_it_was_made_what_it_gave(
    tiny_bundle: Path, model_format: Format
) -> None:
    report = check_golden(golden_bundle(tiny_bundle), model_format=model_format)
    assert report.holds
    assert report.photos == len(tiny_models.LABELS)
    assert report.largest_difference == 0


def test_the_report_says_what_the_bundle_is(tiny_bundle: Path) -> None:
    path = golden_bundle(tiny_bundle)
    assert check_golden(path).precision == "float32"
    mixed = Bundle.load(path)
    contents = {name: mixed.read(name) for name in mixed.files}
    write_bundle(
        replace(mixed, path=path.with_name("mixed"), precision="int8", float_layers=("a", "b")),
        contents,
    )
    assert check_golden(path.with_name("mixed")).precision == "int8, 2 layers float32"


def test_one_other_pixel_is_noticed(tiny_bundle: Path) -> None:
    report = check_golden(golden_bundle(tiny_bundle, pixel_change=1))
    assert report.different_pixels == 1
    assert not report.holds


def test_another_probability_is_noticed(tiny_bundle: Path) -> None:
    report = check_golden(golden_bundle(tiny_bundle, logit_change=100.0))
    assert report.largest_difference > 0.02
    assert not report.holds


@pytest.mark.parametrize("model_format", FORMATS)
def test_many_labels_are_checked_one_by_one(tiny_bundle: Path, model_format: Format) -> None:
    bundle = golden_bundle(tiny_bundle, task="multilabel")
    report = check_golden(bundle, model_format=model_format)
    assert (report.largest_difference, report.different_labels, report.holds) == (0, 0, True)


def test_a_label_that_was_given_and_is_not_now_is_noticed(tiny_bundle: Path) -> None:
    # "plain" has logit 4 on the plain photo, and is its best class still: but once it was not
    # given (logit -1, probability 0.269), and sigmoid(4) = 0.982.
    report = check_golden(golden_bundle(tiny_bundle, logit_change=-5.0, task="multilabel"))
    assert report.different_labels == 1
    assert report.largest_difference == pytest.approx(0.98201 - 0.26894, abs=1e-4)
    assert not report.holds


def test_a_label_at_the_threshold_may_fall_either_way(tiny_bundle: Path) -> None:
    # Once its probability was 0.4925, just below the threshold of 0.5; beside the difference
    # of the probabilities that is no other label.
    report = check_golden(golden_bundle(tiny_bundle, logit_change=-4.03, task="multilabel"))
    assert report.different_labels == 0
    assert not report.holds


def test_a_bundle_without_golden_photos_says_so(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"has no golden\.npz"):
        check_golden(tiny_bundle)


def test_the_command_exits_with_1_where_something_changed(tiny_bundle: Path) -> None:
    leansight = str(Path(sys.executable).with_name("leansight"))
    changed = golden_bundle(tiny_bundle, pixel_change=1)
    done = subprocess.run([leansight, "check", changed, "--json"], capture_output=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["different_pixels"] == 1
