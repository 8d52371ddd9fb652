"""Datasets by name, of interactions and of clicks: one file each, found by their `SOURCE`."""

from slimtable.data.datasets.catalogue import DatasetInfo, fetch_dataset, list_datasets, load_dataset
from slimtable.data.datasets.click_catalogue import load_click_dataset
from slimtable.data.datasets.click_source import ClickDataset, ClickSource
from slimtable.data.datasets.source import Dataset, InteractionSource, RemoteFile
from slimtable.data.datasets.synthetic import make_dataset, make_synthetic
from slimtable.data.datasets.synthetic_ctr import make_synthetic_clicks

__all__ = [
    "ClickDataset",
    "ClickSource",
    "Dataset",
    "DatasetInfo",
    "InteractionSource",
    "RemoteFile",
    "fetch_dataset",
    "list_datasets",
    "load_click_dataset",
    "load_dataset",
    "make_dataset",
    "make_synthetic",
    "make_synthetic_clicks",
]
