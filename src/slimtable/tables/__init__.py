"""Trained tables in files of many formats, read a block of rows at a time and without running code of a file."""

from slimtable.tables.frequencies import count_frequencies, read_frequencies
from slimtable.tables.opening import open_tables, read_table

__all__ = ["count_frequencies", "open_tables", "read_frequencies", "read_table"]
