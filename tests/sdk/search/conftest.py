import pytest

from leansight.sdk.search import results as optimizing_results


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest where a test is of something else."""
    monkeypatch.setattr(optimizing_results, "write_pareto_picture", lambda *_, **__: None)
