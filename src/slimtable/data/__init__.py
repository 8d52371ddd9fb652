"""Interactions: how they are read, named, filtered and split."""

from slimtable.data.datasets import Dataset, fetch_dataset, list_datasets, load_dataset
from slimtable.data.interactions.formats import detect_format, read_interactions, read_pairs, read_train_test
from slimtable.data.interactions.interactions import Interactions, frequency_order
from slimtable.data.interactions.pairs import Pairs
from slimtable.data.interactions.split import (
    Split,
    fixed_split,
    holdout_split,
    k_core,
    leave_two_out,
    order_by_frequency,
    random_split,
    split,
    temporal_split,
)

__all__ = [
    "Dataset",
    "Interactions",
    "Pairs",
    "Split",
    "detect_format",
    "fetch_dataset",
    "fixed_split",
    "frequency_order",
    "holdout_split",
    "k_core",
    "leave_two_out",
    "list_datasets",
    "load_dataset",
    "order_by_frequency",
    "random_split",
    "read_interactions",
    "read_pairs",
    "read_train_test",
    "split",
    "temporal_split",
]
