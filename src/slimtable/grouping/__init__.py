"""Grouping: algorithms that compute the shared row of every id from an interaction graph."""

from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import (
    Grouping,
    Groups,
    Labels,
    format_grouping,
    get_grouping,
    group,
    grouping_names,
    parse_grouping,
    register_grouping,
)
from slimtable.grouping.row_map import Hash, RowMap
from slimtable.grouping.statistics import Statistics

__all__ = [
    "Grouping",
    "Groups",
    "Hash",
    "InteractionGraph",
    "Labels",
    "RowMap",
    "Statistics",
    "format_grouping",
    "get_grouping",
    "group",
    "grouping_names",
    "parse_grouping",
    "register_grouping",
]
