"""Every benchmark, in the order of the page."""

from tests.benchmarks import (
    assignment,
    demo_step,
    orchestration,
    packing,
    published_step,
    reading,
    scale,
    scoring,
    separating,
    synthesising,
)
from tests.benchmarks.benchmark import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    module.BENCHMARK.name: module.BENCHMARK
    for module in (
        packing,
        reading,
        scale,
        demo_step,
        published_step,
        assignment,
        scoring,
        synthesising,
        separating,
        orchestration,
    )
}
