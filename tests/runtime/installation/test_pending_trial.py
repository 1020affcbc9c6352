"""Is the record of a trial read as it was written, and refused in one line where it is not one?"""

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leansight.runtime.errors import DataError
from leansight.runtime.installation.pending_trial import PendingTrial, remove_pending_trial

NUMBERS = st.integers(-2, 5) | st.integers() | st.floats() | st.booleans() | st.none() | st.text()
ANYTHING = st.recursive(
    NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)
RECORDS = st.fixed_dictionaries({"version": NUMBERS, "period_s": NUMBERS, "starts": NUMBERS})


def is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= 10**9


@example({"\n": None})
@given(RECORDS | ANYTHING)
def test_what_is_read_is_a_trial_or_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, values: object
) -> None:
    folder = tmp_path_factory.mktemp("signs")
    (folder / "trial.json").write_text(json.dumps(values))
    seconds = values.get("period_s") if isinstance(values, dict) else None
    is_trial = (
        isinstance(values, dict)
        and set(values) == {"version", "period_s", "starts"}
        and is_whole(values["version"], 1)
        and is_whole(values["starts"], 0)
        and isinstance(seconds, int | float)
        and not isinstance(seconds, bool)
        and math.isfinite(seconds)
        and 0 < seconds <= 3600
    )
    if not is_trial:
        with pytest.raises(DataError, match=r"trial.json is damaged: .*\. Remove it$"):
            PendingTrial.load(folder)
        return
    trial = PendingTrial.load(folder)
    assert trial is not None
    trial.save(folder)
    assert json.loads((folder / "trial.json").read_text()) == values


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b'{"version": 1}'])
def test_what_is_no_json_is_damaged(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "trial.json").write_bytes(data)
    with pytest.raises(DataError, match=r"trial.json is damaged"):
        PendingTrial.load(tmp_path)


def test_a_record_goes_with_what_a_kill_has_left_beside_it(tmp_path: Path) -> None:
    left = tmp_path / ".trial.json.part"
    left.write_text("{")
    left.chmod(0o400)
    PendingTrial(version=2, period_s=60).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["trial.json"]
    left.write_text("{")
    remove_pending_trial(tmp_path)
    assert not list(tmp_path.iterdir())
    remove_pending_trial(tmp_path)
    assert PendingTrial.load(tmp_path) is None
