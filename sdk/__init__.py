"""Data, recipes, training, evaluation and the `leansight` command.

Importing it loads nothing: torch and its libraries come with the first name that needs them.
"""

from typing import TYPE_CHECKING

from leansight.runtime.lazy import import_on_first_use

if TYPE_CHECKING:
    from leansight.exporters.verification.intervals import Interval, mean_interval
    from leansight.sdk.data.images import ImageSet, load_labelled
    from leansight.sdk.data.layouts.detect import find_labels, find_samples
    from leansight.sdk.data.samples import Sample, Split
    from leansight.sdk.data.splits import split_samples
    from leansight.sdk.deployment.certify import certify_bundle
    from leansight.sdk.deployment.export_imported import export_imported
    from leansight.sdk.deployment.export_run import export_run
    from leansight.sdk.deployment.imported_network import Origin
    from leansight.sdk.deployment.options import DeploymentOptions
    from leansight.sdk.evaluation.answers import AnsweringModel, Answers, ask, load_model
    from leansight.sdk.evaluation.evaluate import measure_report
    from leansight.sdk.evaluation.events import measure_events
    from leansight.sdk.evaluation.guarantee import Guarantee, NoGuaranteeError
    from leansight.sdk.evaluation.intervals import Comparison, compare_models
    from leansight.sdk.evaluation.report import write_report
    from leansight.sdk.pruning.prune import prune_run
    from leansight.sdk.pruning.target import PruningTarget
    from leansight.sdk.recipes.load import load_recipe, recipe_names
    from leansight.sdk.recipes.schema import DataRecipe, Recipe, SplitRecipe
    from leansight.sdk.runs.run import Run, TrainingOptions
    from leansight.sdk.search.objectives import Objective
    from leansight.sdk.search.pareto_plot import PlotPoint, write_pareto_picture
    from leansight.sdk.training.train import train
    from leansight.sdk.training.trainer import Hardware
else:
    __getattr__, __dir__ = import_on_first_use(
        __name__,
        {
            "data.images": "ImageSet load_labelled",
            "data.layouts.detect": "find_labels find_samples",
            "data.samples": "Sample Split",
            "data.splits": "split_samples",
            "deployment.certify": "certify_bundle",
            "deployment.export_imported": "export_imported",
            "deployment.export_run": "export_run",
            "deployment.imported_network": "Origin",
            "deployment.options": "DeploymentOptions",
            "evaluation.answers": "AnsweringModel Answers ask load_model",
            "evaluation.evaluate": "measure_report",
            "evaluation.events": "measure_events",
            "evaluation.guarantee": "Guarantee NoGuaranteeError",
            "evaluation.intervals": "Comparison compare_models",
            "leansight.exporters.verification.intervals": "Interval mean_interval",
            "evaluation.report": "write_report",
            "pruning.prune": "prune_run",
            "pruning.target": "PruningTarget",
            "recipes.load": "load_recipe recipe_names",
            "recipes.schema": "DataRecipe Recipe SplitRecipe",
            "runs.run": "Run TrainingOptions",
            "search.objectives": "Objective",
            "search.pareto_plot": "PlotPoint write_pareto_picture",
            "training.train": "train",
            "training.trainer": "Hardware",
        },
        extra="all",
    )

__all__ = [
    "AnsweringModel",
    "Answers",
    "Comparison",
    "DataRecipe",
    "DeploymentOptions",
    "Guarantee",
    "Hardware",
    "ImageSet",
    "Interval",
    "NoGuaranteeError",
    "Objective",
    "Origin",
    "PlotPoint",
    "PruningTarget",
    "Recipe",
    "Run",
    "Sample",
    "Split",
    "SplitRecipe",
    "TrainingOptions",
    "ask",
    "certify_bundle",
    "compare_models",
    "export_imported",
    "export_run",
    "find_labels",
    "find_samples",
    "load_labelled",
    "load_model",
    "load_recipe",
    "mean_interval",
    "measure_events",
    "measure_report",
    "prune_run",
    "recipe_names",
    "split_samples",
    "train",
    "write_pareto_picture",
    "write_report",
]
