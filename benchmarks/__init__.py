"""Size, MACs, memory and latency of models, measured honestly.

Importing it loads nothing heavy: the readers of graphs come when a model is counted.
"""

from typing import TYPE_CHECKING

from leansight.runtime.lazy import import_on_first_use

if TYPE_CHECKING:
    from leansight.benchmarks.graph_count import GraphCount, count_graph
    from leansight.benchmarks.machines import Machine
    from leansight.benchmarks.measure import BenchmarkResult, Latency, Percentiles, measure_models
    from leansight.benchmarks.models import Model, find_models
    from leansight.benchmarks.picture import synthetic_image
    from leansight.benchmarks.remote import machine_at
    from leansight.benchmarks.ssh import RemoteError
    from leansight.benchmarks.table import tables
else:
    __getattr__, __dir__ = import_on_first_use(
        __name__,
        {
            "graph_count": "GraphCount count_graph",
            "machines": "Machine",
            "measure": "BenchmarkResult Latency Percentiles measure_models",
            "models": "Model find_models",
            "picture": "synthetic_image",
            "remote": "machine_at",
            "ssh": "RemoteError",
            "table": "tables",
        },
        extra="bench",
    )

__all__ = [
    "BenchmarkResult",
    "GraphCount",
    "Latency",
    "Machine",
    "Model",
    "Percentiles",
    "RemoteError",
    "count_graph",
    "find_models",
    "machine_at",
    "measure_models",
    "synthetic_image",
    "tables",
]
