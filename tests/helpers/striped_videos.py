from pathlib import Path

from leansight.sdk.evaluation.answers import AnsweringModel, load_model

FRAMES = 3


FRAMES = 3


def model_of(bundle: Path, **changes: object) -> AnsweringModel:
    loaded = load_model(bundle)
    return AnsweringModel(**{**vars(loaded), **changes})  # type: ignore[arg-type]
