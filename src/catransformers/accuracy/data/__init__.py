"""Data: sources of samples for every task, and batches made of them.

A *source* knows its samples by index: what they are called, what they hold, which split each belongs to. One file a
layout reads what users have (image-caption files, class folders, GLUE tables, shards …); `open_data` finds out which
layout a path is. Nothing here knows nets or tasks: how a sample becomes tensors arrives as a plain function.

    source = open_data(path, "captions", seed=0)          # every mistake of the files counted, before anything runs
    check(source)                                         # decode every image once
    stream = batches(source, source.splits["train"], make, batch_size=64, seed=0, workers=4)
"""

from catransformers.accuracy.data.checking import check, find_faults
from catransformers.accuracy.data.faults import Faults, UnreadableError
from catransformers.accuracy.data.loader import batches, in_order, stack
from catransformers.accuracy.data.opening import Kind, open_data
from catransformers.accuracy.data.relabelled import in_order_of
from catransformers.accuracy.data.samples import DataSource, ImageRef, Sample, Samples
from catransformers.accuracy.data.splits import SPLITS, Splits

__all__ = [
    "SPLITS",
    "DataSource",
    "Faults",
    "ImageRef",
    "Kind",
    "Sample",
    "Samples",
    "Splits",
    "UnreadableError",
    "batches",
    "check",
    "find_faults",
    "in_order",
    "in_order_of",
    "open_data",
    "stack",
]
