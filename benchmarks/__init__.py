"""Size, MACs, memory and latency of models, measured honestly.

Importing it loads nothing heavy: the readers of graphs come when a model is counted.
"""

from typing import TYPE_CHECKING

from leansight.runtime.lazy import import_on_first_use

if TYPE_CHECKING:
    from leansight.benchmarks.graph_count import GraphCount, count_graph
    from leansight.benchmarks.machines import Machine
    from leansight.benchmarks.measure import Settings, benchmark, measure_models
    from leansight.benchmarks.models import Model, find_models
    from leansight.benchmarks.picture import synthetic_image
    from leansight.benchmarks.probes.conditions import MachineFacts, MachineState
    from leansight.benchmarks.remote import machine_at
    from leansight.benchmarks.results.estimates import Estimate, Percentiles
    from leansight.benchmarks.results.machines import LostMachine, MachineBenchmarks
    from leansight.benchmarks.results.page import write_page
    from leansight.benchmarks.results.regression import Change, compare_results, read_result_file
    from leansight.benchmarks.results.resources import Energy, MachinePeaks, MemorySample
    from leansight.benchmarks.results.result import (
        Accuracy,
        Benchmark,
        BenchmarkResult,
        Comparison,
        Conditions,
        Detail,
        Failure,
        Latency,
        LayerCount,
        Work,
    )
    from leansight.benchmarks.results.table import tables
    from leansight.benchmarks.results.texts import csv_text, markdown_text
    from leansight.benchmarks.ssh import RemoteError
else:
    __getattr__, __dir__ = import_on_first_use(
        __name__,
        {
            "graph_count": "GraphCount count_graph",
            "machines": "Machine",
            "measure": "Settings benchmark measure_models",
            "models": "Model find_models",
            "picture": "synthetic_image",
            "remote": "machine_at",
            "ssh": "RemoteError",
            "probes.conditions": "MachineFacts MachineState",
            "results.estimates": "Estimate Percentiles",
            "results.result": (
                "Accuracy Benchmark BenchmarkResult Comparison Conditions Detail Failure "
                "Latency LayerCount Work"
            ),
            "results.resources": "Energy MachinePeaks MemorySample",
            "results.machines": "LostMachine MachineBenchmarks",
            "results.page": "write_page",
            "results.regression": "Change compare_results read_result_file",
            "results.table": "tables",
            "results.texts": "csv_text markdown_text",
        },
        extra="bench",
    )

__all__ = [
    "Accuracy",
    "Benchmark",
    "BenchmarkResult",
    "Change",
    "Comparison",
    "Conditions",
    "Detail",
    "Energy",
    "Estimate",
    "Failure",
    "GraphCount",
    "Latency",
    "LayerCount",
    "LostMachine",
    "Machine",
    "MachineBenchmarks",
    "MachineFacts",
    "MachinePeaks",
    "MachineState",
    "MemorySample",
    "Model",
    "Percentiles",
    "RemoteError",
    "Settings",
    "Work",
    "benchmark",
    "compare_results",
    "count_graph",
    "csv_text",
    "find_models",
    "machine_at",
    "markdown_text",
    "measure_models",
    "read_result_file",
    "synthetic_image",
    "tables",
    "write_page",
]
