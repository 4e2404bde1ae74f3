"""Zero-shot evaluation of a CLIP on clip-benchmark's data sets, as many of them as a folder holds.

    result = evaluate_benchmark(base.net, root, out, preprocess=base.preprocess, tokenize=base.tokenizer())
    result.rows(), result.averages, result.failures, result.missing

`known` is the table of data sets, `finding` looks which are there, `reading` reads their shards, `evaluating` judges a
net on one of them (`ranking` for retrieval), `averages` puts their values together, `results` keeps them, and `running`
does it all.
"""

from catransformers.accuracy.benchmark.averages import Average, averages
from catransformers.accuracy.benchmark.evaluating import DatasetScore, evaluate_dataset
from catransformers.accuracy.benchmark.finding import Dataset, Failure, Found, find_datasets
from catransformers.accuracy.benchmark.known import GROUPS, OTHER, Known, known
from catransformers.accuracy.benchmark.running import BenchmarkResult, Event, evaluate_benchmark

__all__ = [
    "GROUPS",
    "OTHER",
    "Average",
    "BenchmarkResult",
    "Dataset",
    "DatasetScore",
    "Event",
    "Failure",
    "Found",
    "Known",
    "averages",
    "evaluate_benchmark",
    "evaluate_dataset",
    "find_datasets",
    "known",
]
