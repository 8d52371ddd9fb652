"""Click logs by name: one file each, found by their `SOURCE`."""

from slimtable.data.click_datasets.catalogue import (
    fetch_click_dataset,
    list_click_datasets,
    load_click_dataset,
)
from slimtable.data.click_datasets.source import ClickDataset, ClickSource
from slimtable.data.click_datasets.synthetic_ctr import make_synthetic_clicks

__all__ = [
    "ClickDataset",
    "ClickSource",
    "fetch_click_dataset",
    "list_click_datasets",
    "load_click_dataset",
    "make_synthetic_clicks",
]
