"""What a bank of augmented views was made from, and which runs it fits."""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any, Final

from leansight.runtime.errors import DataError
from leansight.sdk.data.images import images_folder
from leansight.sdk.data.samples import Sample
from leansight.sdk.recipes.schema import Recipe
from leansight.sdk.runs.run import RunConfig, weights_digest

FORMAT: Final = 1
MADE_FROM: Final = "bank.json"
LOCK: Final = "bank.lock"  # held by the training that makes the views


def made_from(start: RunConfig, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return all that decides what the views of `samples` are, as plain JSON values.

    Images count by their names and sizes, wherever they are; teachers by their weights.
    """
    recipe, folder = start.recipe, images_folder(start.data)
    images = [
        [os.fspath(s.path), s.labels, s.box, (folder / s.path).stat().st_size] for s in samples
    ]
    values = {
        "format": FORMAT,
        "images": hashlib.sha256(json.dumps(images).encode()).hexdigest(),
        "labels": start.labels,
        **view_settings(recipe),
        "teachers": [weights_digest(path) for path in start.options.teachers],
    }
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def view_settings(recipe: Recipe) -> dict[str, Any]:
    """Return what of a recipe decides what the views of given images are."""
    return {
        "task": recipe.task,
        "preprocessing": recipe.preprocessing.to_dict(),
        "augmentation": recipe.to_dict()["augmentation"],
        "scene_scale": recipe.training.scene_scale,
    }


def require_same_views(recipes: Sequence[Recipe]) -> None:
    """Raise DataError if the recipes, with one split, do not lead to the same views."""
    settings = [view_settings(recipe) | {"data": recipe.data} for recipe in recipes]
    first, *others = settings
    if differing := [name for name in first if any(first[name] != o[name] for o in others)]:
        raise DataError(
            f"candidates that differ in {', '.join(differing)} cannot share a bank: leave that out "
            "of the grid, or the bank",
            parameter="bank",
        )


def check_bank(start: RunConfig, samples: Sequence[Sample]) -> None:
    """Raise DataError if the run's bank was made from something else than its `samples`.

    A folder that is empty, or not there, is a bank that is still to be made.
    """
    folder = start.options.bank
    if folder is None or not folder.exists():
        return
    file = folder / MADE_FROM
    if not file.exists():
        if others := sorted(path.name for path in folder.iterdir() if path.name != LOCK):
            raise DataError(
                f"{folder} holds {others[0]} and no bank: choose another folder", parameter="bank"
            )
        return
    wanted = made_from(start, samples)
    try:
        found = json.loads(file.read_text())
        differing = [name for name in wanted if found.get(name) != wanted[name]]
    except (ValueError, AttributeError) as error:
        raise DataError(f"{file} is damaged: {error}", parameter="bank") from error
    if differing:
        raise DataError(
            f"the bank {folder} was made from other {', '.join(differing)}: choose another folder",
            parameter="bank",
        )
