"""Datasets by name: one file each, found by their `SOURCE`."""

from slimtable.data.datasets.catalogue import DatasetInfo, fetch_dataset, list_datasets, load_dataset
from slimtable.data.datasets.source import Dataset, RemoteFile, Source
from slimtable.data.datasets.synthetic import make_dataset, make_synthetic

__all__ = [
    "Dataset",
    "DatasetInfo",
    "RemoteFile",
    "Source",
    "fetch_dataset",
    "list_datasets",
    "load_dataset",
    "make_dataset",
    "make_synthetic",
]
