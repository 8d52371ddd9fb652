"""Compress tables that are already trained: inside a model, or in files, by a method or within a budget."""

from slimtable.compress.files import read_table
from slimtable.compress.in_place import compress_
from slimtable.compress.one_table import compress_table
from slimtable.compress.result import Candidate, Choice, Compressed, GuardFacts, Kept

__all__ = ["Candidate", "Choice", "Compressed", "GuardFacts", "Kept", "compress_", "compress_table", "read_table"]
